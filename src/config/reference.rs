//! The text of `config/reference.toml`, written from the key table.

use super::keys::{Fallback, Key, Kind, Section};

const HEAD: &str = "\
# Every key of Tenantry's configuration. As it stands this file sets nothing: take the lines you need and
# remove the \"#\" at their beginning. What each line shows is the default, or an example where it says so.
#
# Sizes: B, KiB, MiB, GiB, TiB or a plain number of bytes. Durations: ms, s, m, h. Unknown keys are errors.
# Each key is also an environment variable, which goes before the file; flags go before both. In variables,
# listeners and users are numbered from 1.
";

/// The whole file.
pub fn render() -> String {
    Section::ALL.iter().fold(HEAD.to_owned(), |text, section| text + &section_text(*section))
}

fn section_text(section: Section) -> String {
    let purpose = commented(section.purpose());
    let header =
        if section == Section::Top { String::new() } else { format!("\n{purpose}#{}\n", section.header()) };
    section.keys().fold(header, |text, key| text + &key_text(key))
}

fn key_text(key: &Key) -> String {
    let purpose = commented(key.purpose);
    format!("\n{purpose}{}# {}\n#{} = {}\n", commented(&note(key)), variable(key), key.name, value(key))
}

/// What may be written, and what holds otherwise.
fn note(key: &Key) -> String {
    let range = match key.kind {
        Kind::Text | Kind::Texts | Kind::Truth | Kind::Rate => String::new(),
        Kind::Choice(_) => format!("One of {}. ", key.kind.range()),
        Kind::Integer { .. } | Kind::Size { .. } | Kind::Amount { .. } | Kind::Duration { .. } => {
            format!("{}. ", key.kind.range())
        }
    };
    let fallback = match key.fallback {
        Fallback::Required => "Required; this is an example.".to_owned(),
        Fallback::Absent(meaning) => format!("Without it: {meaning}; this is an example."),
        Fallback::Text(_) | Fallback::Integer(_) | Fallback::Truth(_) => String::new(),
    };
    (range + &fallback).trim_end().to_owned()
}

/// The default as TOML, or the example where there is none.
pub fn value(key: &Key) -> String {
    match (key.fallback, key.kind) {
        (Fallback::Text(text), _) => format!("\"{text}\""),
        (Fallback::Integer(number), _) => number.to_string(),
        (Fallback::Truth(truth), _) => truth.to_string(),
        (Fallback::Absent(_) | Fallback::Required, Kind::Texts) => format!("[\"{}\"]", key.example),
        (Fallback::Absent(_) | Fallback::Required, Kind::Integer { .. } | Kind::Rate) => {
            key.example.to_owned()
        }
        (
            Fallback::Absent(_) | Fallback::Required,
            Kind::Text
            | Kind::Size { .. }
            | Kind::Amount { .. }
            | Kind::Duration { .. }
            | Kind::Truth
            | Kind::Choice(_),
        ) => format!("\"{}\"", key.example),
    }
}

fn variable(key: &Key) -> String {
    let section = match key.section {
        Section::Top => "",
        Section::Listener => "LISTENER_1_",
        Section::Admin => "ADMIN_",
        Section::Upstream => "UPSTREAM_MAIN_",
        Section::Breaker => "UPSTREAM_MAIN_BREAKER_",
        Section::UpstreamClass => "UPSTREAM_MAIN_CLASS_SCAN_",
        Section::UpstreamRetry => "UPSTREAM_MAIN_RETRY_",
        Section::Tenant => "TENANT_ACME_",
        Section::Limits => "TENANT_ACME_LIMITS_",
        Section::LimitClass => "TENANT_ACME_LIMITS_CLASS_KEYS_",
        Section::User => "TENANT_ACME_USER_1_",
        Section::Fleet => "FLEET_",
        Section::Downstream => "DOWNSTREAM_",
        Section::Start => "START_",
        Section::Log => "LOG_",
    };
    format!("TENANTRY_{section}{}", key.name.to_uppercase())
}

fn commented(text: &str) -> String {
    text.lines().fold(String::new(), |all, line| format!("{all}# {line}\n"))
}
