//! `include/adarem.h` is what cbindgen makes of this crate. `ADAREM_BLESS=1` writes it anew.

use std::path::Path;

use cbindgen::{Config, DocumentationStyle, EnumConfig, ExportConfig, Language, RenameRule, Style};

const OPENING: &str = "/* Optimizers by name, on memory that the caller gives: see the README beside this file's folder.
 *
 * No function allocates, prints, locks or starts a thread. Different optimizers may be used by different
 * threads at the same time. `error` may be null in every call; what it says of a call is overwritten by the
 * next.
 *
 * Made by cbindgen from adarem-capi; do not edit. SPDX-License-Identifier: MIT OR Apache-2.0 */
";

fn header() -> String {
    let constants = [
        "ALIGNMENT",
        "DTYPE_F32",
        "DTYPE_F64",
        "ERROR_TEXT",
        "MOST_SCHEDULES",
        "SCHEDULE_CONSTANT",
        "SCHEDULE_COSINE",
        "SCHEDULE_EXPONENTIAL",
        "SCHEDULE_INVERSE_SQRT",
        "SCHEDULE_LINEAR",
        "SCHEDULE_POLYNOMIAL",
        "SCHEDULE_STEPS",
    ];
    let types = [
        "Config",
        "Error",
        "NamedValue",
        "Optimizer",
        "Schedule",
        "Status",
    ];
    let renamed = constants
        .map(|name| (name, format!("ADAREM_{name}")))
        .into_iter()
        .chain(types.map(|name| (name, format!("Adarem{name}"))));
    let config = Config {
        language: Language::C,
        cpp_compat: true,
        header: Some(OPENING.to_string()),
        include_guard: Some("ADAREM_H".to_string()),
        usize_is_size_t: true,
        style: Style::Both,
        line_length: 100,
        documentation_style: DocumentationStyle::Doxy,
        no_includes: true,
        sys_includes: ["stdbool.h", "stddef.h", "stdint.h"]
            .map(String::from)
            .to_vec(),
        enumeration: EnumConfig {
            rename_variants: RenameRule::QualifiedScreamingSnakeCase,
            ..EnumConfig::default()
        },
        export: ExportConfig {
            rename: renamed.map(|(from, to)| (from.to_string(), to)).collect(),
            ..ExportConfig::default()
        },
        ..Config::default()
    };
    let mut header = Vec::new();
    cbindgen::generate_with_config(env!("CARGO_MANIFEST_DIR"), config)
        .unwrap()
        .write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn the_header_is_what_cbindgen_makes() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("include/adarem.h");
    let made = header();
    if std::env::var_os("ADAREM_BLESS").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        made == kept,
        "include/adarem.h is out of date: run this test with ADAREM_BLESS=1"
    );
}
