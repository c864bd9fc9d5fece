//! Replays every corpus, on any compiler. A file that once crashed its target is named for what was wrong.

use std::path::Path;

use adarem_fuzz::TARGETS;

#[test]
fn every_case_of_every_corpus_passes() {
    for target in TARGETS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join("corpus")
            .join(target.name);
        let files = std::fs::read_dir(&folder);
        let files = files.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        let mut cases = 0;
        for file in files {
            let path = file.expect("a folder can be listed").path();
            let bytes = std::fs::read(&path).expect("a case can be read");
            eprintln!("{}", path.display());
            (target.run)(&bytes);
            cases += 1;
        }
        assert!(cases > 0, "the corpus of {} is empty", target.name);
    }
}
