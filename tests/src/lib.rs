//! The conformance kit of adarem: proves a backend, bit for bit
