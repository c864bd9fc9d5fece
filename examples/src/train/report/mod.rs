//! What came of a race: a table to read, pictures to look at, JSON for programs.

mod chart;
mod json;
mod picture;
mod table;

pub use chart::{Chart, Curve};
pub use json::json;
pub use picture::{Picture, draw};
pub use table::table;
