//! The conformance kit of adarem: proves a backend, bit for bit

#[cfg(feature = "vectors")]
pub mod vectors;
