//! Names of wrappers around rules, put together at compile time.

use core::marker::PhantomData;

use crate::rule::Rule;

/// The bytes of a name, at most.
const MOST: usize = 96;

/// A rule around another: for the names of wrappers.
///
/// ```
/// use adarem::{Name, Sgd, Wraps};
///
/// struct Twice<R>(R);
/// impl<R: adarem::Rule> Wraps for Twice<R> {
///     const WRAPPER: &'static str = "twice";
///     type Inner = R;
/// }
/// assert_eq!(Name::<Twice<Sgd>>::OF, "twice(sgd)");
/// ```
pub trait Wraps {
    /// What the wrapper is called, as in `lookahead`.
    const WRAPPER: &'static str;
    /// The rule that it wraps.
    type Inner: Rule;
}

/// Holds the name of a wrapper around a rule: `lookahead(adarem)`.
#[derive(Debug)]
pub struct Name<W>(PhantomData<W>);

impl<W: Wraps> Name<W> {
    const PARTS: [&'static [u8]; 4] =
        [W::WRAPPER.as_bytes(), b"(", W::Inner::NAME.as_bytes(), b")"];

    const LEN: usize = {
        let (mut len, mut part) = (0, 0);
        while part < Self::PARTS.len() {
            len += Self::PARTS[part].len();
            part += 1;
        }
        assert!(
            len <= MOST,
            "too many wrappers around a rule: their names are too long"
        );
        len
    };

    const BYTES: [u8; MOST] = {
        let (mut bytes, mut at, mut part) = ([0; MOST], 0, 0);
        while part < Self::PARTS.len() {
            let mut k = 0;
            while k < Self::PARTS[part].len() {
                bytes[at] = Self::PARTS[part][k];
                at += 1;
                k += 1;
            }
            part += 1;
        }
        bytes
    };

    const ALL: &'static [u8; MOST] = &Self::BYTES;

    /// The name. One of more than 96 bytes does not compile.
    pub const OF: &'static str = match core::str::from_utf8(Self::ALL.split_at(Self::LEN).0) {
        Ok(name) => name,
        Err(_) => panic!("parts of UTF-8 make UTF-8"),
    };
}

#[cfg(test)]
mod tests {
    use super::{Name, Wraps};
    use crate::{Engine, Invalid, Rule, Sgd};

    struct Around<R>(R);

    impl<R: Rule> Wraps for Around<R> {
        const WRAPPER: &'static str = "around";
        type Inner = R;
    }

    impl<R: Rule> Rule for Around<R> {
        const NAME: &'static str = Name::<Self>::OF;
        const SLOTS: usize = R::SLOTS;
        const CARRIED: usize = R::CARRIED;

        fn check(&self) -> Result<(), Invalid> {
            self.0.check()
        }

        fn step<E: Engine>(&self, t: u64, e: &mut E) {
            self.0.step(t, e);
        }
    }

    #[test]
    fn a_wrappers_name_holds_that_of_what_it_wraps() {
        assert_eq!(Around::<Sgd>::NAME, "around(sgd)");
        assert_eq!(Around::<Around<Sgd>>::NAME, "around(around(sgd))");
    }
}
