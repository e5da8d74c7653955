//! The lines of the exposition that the exporter does not write: histograms that are bucket counts already,
//! and figures with a fraction.

use super::names::Family;
use metrics_exporter_prometheus::formatting::{sanitize_label_value, write_help_line, write_type_line};

/// Starts a family: its `# HELP` and `# TYPE` line. Once per family, before its first sample.
pub(super) fn start(out: &mut String, family: &Family) {
    write_help_line(out, family.name, None, None, family.description);
    write_type_line(out, family.name, None, None, family.kind.word());
}

/// One sample; `suffix` is empty, or what a histogram's own series add to its name (`_bucket`, …).
pub(super) fn sample(out: &mut String, family: &Family, suffix: &str, labels: &[(&str, &str)], value: &str) {
    out.push_str(family.name);
    out.push_str(suffix);
    for (place, (name, label)) in labels.iter().enumerate() {
        out.push(if place == 0 { '{' } else { ',' });
        out.push_str(name);
        out.push_str("=\"");
        out.push_str(&sanitize_label_value(label));
        out.push('"');
    }
    out.push_str(if labels.is_empty() { " " } else { "} " });
    out.push_str(value);
    out.push('\n');
}

/// A number of microseconds, in seconds: exact, where a float would round after 2⁵³ of them.
pub(super) fn seconds(micros: u64) -> String {
    format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000)
}

#[cfg(test)]
mod tests {
    use super::super::names;
    use super::*;

    #[test]
    fn labels_are_quoted_and_escaped() {
        let mut out = String::new();
        sample(&mut out, &names::CONNECTIONS, "", &[("tenant", "a\"b"), ("le", "+Inf")], "3");
        assert_eq!(out, "tenantry_connections{tenant=\"a\\\"b\",le=\"+Inf\"} 3\n");
    }

    #[test]
    fn sample_without_labels_has_no_braces() {
        let mut out = String::new();
        sample(&mut out, &names::PROCESS_FDS, "", &[], "12");
        assert_eq!(out, "process_open_fds 12\n");
    }

    #[test]
    fn seconds_are_exact() {
        assert_eq!(seconds(0), "0.000000");
        assert_eq!(seconds(1_000_025), "1.000025");
        assert_eq!(seconds(u64::MAX), "18446744073709.551615");
    }
}
