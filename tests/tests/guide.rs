//! The backend of the guide `docs/new-backend.md` conforms, and the guide shows its very code.

#[path = "../../examples/examples/new_backend.rs"]
#[allow(dead_code)]
mod new_backend;

use adarem_conformance::Kit;

#[test]
fn the_backend_of_the_guide_conforms() {
    let report = Kit::new("npu").check(&mut new_backend::Npu::default());
    assert!(report.passed(), "{report}");
}

#[test]
fn the_guide_shows_the_program_as_it_is() {
    let guide = include_str!("../../docs/new-backend.md");
    let program = include_str!("../../examples/examples/new_backend.rs");
    let blocks = guide.split("```rust,ignore\n").skip(1);
    let mut shown = 0;
    for block in blocks.filter_map(|block| block.split("```").next()) {
        assert!(
            program.contains(block.trim_end()),
            "the program has no such lines:\n{block}"
        );
        shown += 1;
    }
    assert!(shown >= 6, "the guide shows {shown} parts of the program");
}
