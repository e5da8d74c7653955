//! `docs/metrics.md` is what the code's table of metrics says.

use std::{env, fs, path::Path};
use tenantry::metrics::names;

#[test]
fn reference_page_is_the_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
    let expected = names::reference();
    if env::var_os("TENANTRY_BLESS").is_some() {
        fs::write(&path, &expected).unwrap();
    }
    let committed = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == expected,
        "docs/metrics.md differs from src/metrics/names.rs; write it with\n  \
         TENANTRY_BLESS=1 cargo test --test metrics_doc"
    );
}
