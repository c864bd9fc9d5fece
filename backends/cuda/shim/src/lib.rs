//! The CUDA driver's entry points, found when the first is called.
//!
//! `cust` names its `cu*` functions as a linker would find them: a program that uses it links against `libcuda` and does
//! not start where there is none. This crate defines the functions that cust refers to and forwards each to the system's
//! driver library, opened on first use. Such a program then builds, links and starts anywhere; without a driver its
//! first call is answered `CUDA_ERROR_NO_DEVICE`, and [`missing`] says in words why.
//!
//! Name the crate once, so that it is linked: `use adarem_cuda_shim as _;`.
//!
//! Two facts are kept here so that nobody else has to think of them:
//!
//! - a signature that differs from `cust_raw`'s does not compile;
//! - `cust_raw`'s result type is an enum frozen at CUDA 11.4. A newer driver's newer code would be undefined behaviour
//!   the moment it became one; it is turned into `CUDA_ERROR_UNKNOWN` before, and [`unnamed_code`] keeps the number.
//!
//! A program that links `libcuda` itself, or that has another crate defining these symbols, must do without this one.
//!
//! ```
//! use cust_raw as _; // what a dependency on cust brings
//!
//! match adarem_cuda_shim::missing() {
//!     None => println!("a driver library was found"),
//!     Some(why) => println!("no CUDA here: {why}"),
//! }
//! ```

mod entry;
mod result;

pub use entry::Entries;
pub use result::{Code, unnamed_code};

use core::ffi::CStr;
use std::ffi::CString;
use std::sync::OnceLock;

/// The driver of this process: found, put in place by a test, or missing.
enum Driver {
    /// The entry points of a library that is never closed: functions of it may run until the process ends.
    Library {
        entries: Entries,
        _library: libloading::Library,
    },
    Installed(Entries),
    Missing(CString),
}

static DRIVER: OnceLock<Driver> = OnceLock::new();

impl Driver {
    #[cfg(windows)]
    const NAMES: [&str; 1] = ["nvcuda.dll"];
    #[cfg(not(windows))]
    const NAMES: [&str; 2] = ["libcuda.so.1", "libcuda.so"];

    fn open() -> Self {
        let mut reasons = Vec::new();
        for name in Self::NAMES {
            // SAFETY: loading runs the initialisers of NVIDIA's driver, which every CUDA program does at its start.
            match unsafe { libloading::Library::new(name) } {
                Ok(library) => {
                    let entries = Entries::find_in(&library);
                    return Self::Library {
                        entries,
                        _library: library,
                    };
                }
                Err(error) => reasons.push(error.to_string()),
            }
        }
        let text = format!("no CUDA driver: {}", reasons.join("; ")).replace('\0', " ");
        Self::Missing(CString::new(text).unwrap_or_default())
    }

    fn get() -> &'static Self {
        DRIVER.get_or_init(Self::open)
    }

    fn entries(&self) -> Option<&Entries> {
        match self {
            Self::Library { entries, .. } | Self::Installed(entries) => Some(entries),
            Self::Missing(_) => None,
        }
    }
}

/// Puts a driver that lives in this process in place of the system's. For tests.
///
/// # Errors
/// Gives the entries back when this process has a driver already: installed before, or looked for by a first call.
pub fn install(entries: Entries) -> Result<(), Box<Entries>> {
    DRIVER
        .set(Driver::Installed(entries))
        .map_err(|driver| match driver {
            Driver::Installed(entries) => Box::new(entries),
            Driver::Library { .. } | Driver::Missing(_) => {
                unreachable!("set gives back what it was given")
            }
        })
}

/// Why there is no driver, in the words of the system's loader; `None` where there is one.
pub fn missing() -> Option<&'static str> {
    missing_text().and_then(|text| text.to_str().ok())
}

fn missing_text() -> Option<&'static CStr> {
    match Driver::get() {
        Driver::Missing(reason) => Some(reason.as_c_str()),
        Driver::Library { .. } | Driver::Installed(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cust_raw::CUresult;

    /// One test, because the driver of a process is chosen once.
    #[test]
    fn a_driver_is_installed_once_and_its_codes_arrive() {
        unsafe extern "C" fn newer_than_11_4(_: u32) -> Code {
            915
        }
        unsafe extern "C" fn out_of_memory(_: *mut u64, _: usize) -> Code {
            2
        }
        let entries = Entries {
            cuInit: Some(newer_than_11_4),
            cuMemAlloc_v2: Some(out_of_memory),
            ..Entries::default()
        };
        assert!(install(entries).is_ok());
        assert!(
            install(Entries::default()).is_err(),
            "a second driver was taken"
        );
        assert_eq!(missing(), None);
        // SAFETY: both entries ignore their arguments.
        unsafe {
            assert_eq!(cust_raw::cuInit(0), CUresult::CUDA_ERROR_UNKNOWN);
            assert_eq!(unnamed_code(), Some(915));
            assert_eq!(
                cust_raw::cuMemAlloc_v2(core::ptr::null_mut(), 1),
                CUresult::CUDA_ERROR_OUT_OF_MEMORY
            );
            assert_eq!(
                unnamed_code(),
                None,
                "the number of an earlier call was kept"
            );
        }
        // An entry point that this driver lacks is an error, not a crash.
        // SAFETY: nothing is called.
        let absent = unsafe { cust_raw::cuCtxSynchronize() };
        assert_eq!(absent, CUresult::CUDA_ERROR_SHARED_OBJECT_SYMBOL_NOT_FOUND);
    }
}
