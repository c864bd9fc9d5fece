//! Every chore of the repository, one entry.
fn main() {}
