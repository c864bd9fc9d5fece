//! The one table of tolerances: where a device may leave the host's bits, by how much, and why.
//!
//! The kit fails where a line is not needed: the day a device computes exactly, its line is deleted.

/// One permission to differ.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tolerance {
    /// The device, as the kit was told its name.
    pub device: &'static str,
    /// The check, as the report names it: `op div`, `rule adam`.
    pub check: &'static str,
    /// The most units in the last place.
    pub ulp: u64,
    /// The reason: a clause of the device's specification.
    pub reason: &'static str,
}

/// The tolerances of this project's own devices. It is empty: all agree in every bit.
pub const TABLE: &[Tolerance] = &[];
