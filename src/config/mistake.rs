//! What can be wrong with a configuration, where it is, and what to do about it.
//!
//! All mistakes are collected and shown together: an operator who mends one at a time restarts once per
//! mistake. Nothing here ever holds a password, a secret or a URL; a mistake in one names its key and shows
//! nothing of it.

use std::fmt;
use std::time::Duration;

use super::keys::{Kind, Section};
use super::limits::{LimitMistake, RATE_REMEDY};
use super::units::{UnitError, show_duration, show_size};
use super::url::UrlError;
use crate::command::SelectionError;
use crate::settings::Endpoint;
use crate::tenant::directory::{DirectoryError, Holder, UserNameError};
use crate::tenant::prefix::{PrefixError, TenantNameError};
use crate::tenant::secret::NotADigest;

/// Where something was written. Ordered as the report shows it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file; both count from 1, columns in characters.
    File {
        /// Line.
        line: usize,
        /// Column.
        column: usize,
    },
    /// In an environment variable.
    Environment(String),
    /// In a command line flag.
    Flag(&'static str),
    /// Nowhere: what is missing, or a default.
    Whole,
}

/// One mistake at its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Where.
    pub place: Place,
    /// The path of the key or section, as in `upstream.main.url`; empty where there is none.
    pub key: String,
    /// What.
    pub mistake: Mistake,
}

/// All that is wrong, in the order of its places. `Display` is the report for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    file: Option<String>,
    findings: Vec<Finding>,
}

impl Report {
    /// The report on `file` (none: no file was given).
    pub fn new(file: Option<String>, mut findings: Vec<Finding>) -> Self {
        findings.sort_by(|a, b| a.place.cmp(&b.place));
        Self { file, findings }
    }

    /// What was found.
    pub fn findings(&self) -> &[Finding] {
        &self.findings
    }
}

impl std::error::Error for Report {}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Finding { place, key, mistake } in &self.findings {
            match (place, &self.file) {
                (Place::File { line, column }, Some(file)) => write!(f, "{file}:{line}:{column}: ")?,
                (Place::File { line, column }, None) => write!(f, "{line}:{column}: ")?,
                (Place::Environment(name), _) => write!(f, "environment {name}: ")?,
                (Place::Flag(name), _) => write!(f, "{name}: ")?,
                (Place::Whole, Some(file)) => write!(f, "{file}: ")?,
                (Place::Whole, None) => f.write_str("configuration: ")?,
            }
            let colon = if key.is_empty() { "" } else { ": " };
            writeln!(f, "{key}{colon}{mistake}\n    {}", mistake.remedy())?;
        }
        match self.findings.len() {
            1 => f.write_str("1 mistake in the configuration"),
            n => write!(f, "{n} mistakes in the configuration"),
        }
    }
}

/// What is wrong.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Mistake {
    /// The document's shape.
    #[error(transparent)]
    Shape(#[from] ShapeMistake),
    /// A value.
    #[error(transparent)]
    Value(#[from] ValueMistake),
    /// A secret, or the upstream's password.
    #[error(transparent)]
    Secret(#[from] SecretMistake),
    /// A tenant's name that is none.
    #[error(transparent)]
    TenantName(#[from] TenantNameError),
    /// A user's name that is none.
    #[error(transparent)]
    UserName(#[from] UserNameError),
    /// A prefix that is none.
    #[error(transparent)]
    Prefix(#[from] PrefixError),
    /// An upstream's URL.
    #[error(transparent)]
    Url(#[from] UrlError),
    /// Tenants and users that do not go together.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What a tenant or user may take.
    #[error(transparent)]
    Limit(#[from] LimitMistake),
}

/// What can be wrong with the shape of the document, before any value is looked at.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ShapeMistake {
    /// The file cannot be read.
    #[error("cannot be read: {kind}")]
    Unreadable {
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// The file is not TOML.
    #[error("not TOML: {message}")]
    Syntax {
        /// What the parser says.
        message: String,
    },
    /// Neither file nor flag nor environment names a tenant.
    #[error("no tenant is configured")]
    NoTenant,
    /// A key that its section does not have.
    #[error("no such key")]
    UnknownKey {
        /// Where it was looked for.
        section: Section,
        /// The known one it resembles.
        near: Option<&'static str>,
    },
    /// A `TENANTRY_…` variable that names no key.
    #[error("names no key")]
    UnknownVariable,
    /// A short form where the configuration has several it could mean.
    #[error("cannot say which of {count} is meant")]
    Ambiguous {
        /// What there are several of.
        section: Section,
        /// How many.
        count: usize,
    },
    /// A variable for section number N of a list that has no section N-1.
    #[error("the list has {count} so far")]
    NumberSkips {
        /// How many there are.
        count: usize,
    },
    /// The file has an empty list of listeners.
    #[error("is empty")]
    NoListener,
    /// A key that must be there.
    #[error("is missing")]
    Missing {
        /// An example of its value, as TOML.
        example: String,
    },
    /// A value of another type than the key's.
    #[error("is {found}, not {}", expected.in_words())]
    WrongType {
        /// What the key takes.
        expected: Expected,
        /// What was written.
        found: &'static str,
    },
}

/// What can be wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValueMistake {
    /// Not a size or duration.
    #[error("{error}")]
    Unit {
        /// What the key takes.
        kind: Kind,
        /// Why.
        error: UnitError,
    },
    /// A number, size or duration outside the key's range.
    #[error("is out of range")]
    OutOfRange {
        /// The range.
        kind: Kind,
    },
    /// Not one of the words that the key takes.
    #[error("is not {}", either(words.iter()))]
    Choice {
        /// The words.
        words: &'static [&'static str],
    },
    /// Larger than another key, which bounds it.
    #[error("is larger than {bound}")]
    AboveBound {
        /// The key that bounds it.
        bound: &'static str,
    },
    /// Less than what the process takes anyway.
    #[error("is not enough for {connections} connections and {workers} workers, which take {}", show_size(*.least))]
    TooLittleMemory {
        /// `max_connections`.
        connections: usize,
        /// `workers`.
        workers: usize,
        /// What they take, in bytes.
        least: u64,
    },
    /// Not an address to listen on.
    #[error("is not an IP address with a port")]
    Address {
        /// Whether a Unix socket would do.
        allows_unix: bool,
    },
    /// Two sockets on one address.
    #[error("is the address of {other} already")]
    AddressTaken {
        /// The path of the other.
        other: String,
    },
    /// Two users of one name.
    #[error("is the name of {} already, and AUTH finds the tenant by the user's \
        name", other.trim_end_matches(".name"))]
    UserNameTaken {
        /// The path of the other's name.
        other: String,
    },
    /// Not a file mode.
    #[error("is not a file mode")]
    Mode,
    /// A file mode for a TCP port.
    #[error("applies to unix: sockets only")]
    ModeWithoutSocket,
    /// A key about sentinels where there are none.
    #[error("applies to redis+sentinel:// only")]
    SentinelsOnly,
    /// A key about slow replies where none is slow.
    #[error("says how many replies may be slow, but not from when on they are")]
    NothingIsSlow,
    /// Slow replies that are never seen.
    #[error("is not below reply_timeout, after which a reply is not waited for")]
    SlowAfterTimeout,
    /// A breaker that is on and has nothing to open it.
    #[error(
        "nothing can open the breaker: consecutive_failures and failure_percent are 0, and there is no slow_reply"
    )]
    NeverOpens,
    /// Not two addresses.
    #[error("is not two addresses with ports and '=' between them")]
    AddressMap,
    /// An address that has two others already.
    #[error("says twice where {announced} is")]
    MappedTwice {
        /// The address.
        announced: Endpoint,
    },
    /// Databases of the upstream, where it has one only.
    #[error("is \"native\", but upstream '{upstream}' is a cluster, which has database 0 only")]
    NativeInCluster {
        /// The upstream's name.
        upstream: String,
    },
    /// An upstream's name that is none: it would have no environment variable.
    #[error("an upstream's name is made of a-z, 0-9, '_' and '-'")]
    UpstreamName,
    /// A class that is named after no commands and does not say which it has.
    #[error("names no class of commands")]
    Class,
    /// A timeout for what no upstream is ever sent.
    #[error("has no command that is sent as clients send it")]
    NothingIsSent,
    /// A tenant or upstream that is not configured.
    #[error("names no configured {what}")]
    Unknown {
        /// `tenant` or `upstream`.
        what: &'static str,
        /// The names there are.
        known: Vec<String>,
    },
    /// Several upstreams, and the tenant names none.
    #[error("is missing, and there are {} upstreams", known.len())]
    WhichUpstream {
        /// Their names.
        known: Vec<String>,
    },
    /// Rules about commands that cannot be read.
    #[error(transparent)]
    Rule(SelectionError),
    /// Rules about commands that leave none.
    #[error("chooses no command")]
    ChoosesNothing,
    /// A user's rules about commands that leave none of its tenant's.
    #[error("allows no command that its tenant may run")]
    NothingOfItsTenant,
    /// Nobody can use a listener.
    #[error("nobody can use it: it has no tenant, and no tenant has a user")]
    NobodyCanUse,
}

/// What can be wrong with a secret or password. None shows it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretMistake {
    /// Written in clear.
    #[error("is written in clear")]
    InClear {
        /// Whether a digest would do.
        allows_digest: bool,
    },
    /// A digest that is none.
    #[error(transparent)]
    Digest(#[from] NotADigest),
    /// A variable that is not set.
    #[error("environment variable {name} is not set")]
    Unset {
        /// Its name.
        name: String,
    },
    /// A file that cannot be read.
    #[error("file {path} cannot be read: {kind}")]
    File {
        /// Its path.
        path: String,
        /// What the system said.
        kind: std::io::ErrorKind,
    },
    /// No bytes.
    #[error("{origin} is empty")]
    Empty {
        /// The variable or file.
        origin: String,
    },
    /// A password for the upstream that is not UTF-8.
    #[error("{origin} is not UTF-8")]
    NotText {
        /// The variable or file.
        origin: String,
    },
    /// An upstream's user without a password.
    #[error("has a username but no password")]
    UsernameAlone,
    /// The sentinels' user without a password.
    #[error("needs sentinel_password")]
    SentinelUsernameAlone,
}

/// What a key or section takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A value.
    Value(Kind),
    /// A `[section]`.
    Table,
    /// `[[sections]]`.
    Tables,
}

impl Expected {
    fn in_words(self) -> &'static str {
        match self {
            Self::Value(Kind::Text | Kind::Choice(_)) => "a text",
            Self::Value(Kind::Texts) => "a list of texts",
            Self::Value(Kind::Integer { .. }) => "a whole number",
            Self::Value(Kind::Size { .. }) => "a size",
            Self::Value(Kind::Amount { .. }) => "a size or a percentage",
            Self::Value(Kind::Duration { .. }) => "a duration",
            Self::Value(Kind::Truth) => "true or false",
            Self::Value(Kind::Rate) => "a rate",
            Self::Table => "a section",
            Self::Tables => "a list of sections",
        }
    }
}

impl Kind {
    /// The range, or the words, as a remedy and the reference say it; empty where there is none to tell.
    pub fn range(self) -> String {
        let duration = |milliseconds| show_duration(Duration::from_millis(milliseconds));
        match self {
            Self::Text | Self::Texts | Self::Rate => String::new(),
            Self::Truth => "true or false".to_owned(),
            Self::Integer { least, most } => format!("{least} to {most}"),
            Self::Size { least, most } => format!("{} to {}", show_size(least), show_size(most)),
            Self::Amount { least, most } => {
                format!("{} to {}, or 1% to 100%", show_size(least), show_size(most))
            }
            Self::Duration { least, most } => format!("{} to {}", duration(least), duration(most)),
            Self::Choice(words) => either(words.iter()),
        }
    }

    fn remedy(self) -> String {
        let range = self.range();
        match self {
            Self::Text => "write a text in quotes".to_owned(),
            Self::Texts => "write a list of texts: [\"…\", \"…\"]".to_owned(),
            Self::Rate => RATE_REMEDY.to_owned(),
            Self::Truth | Self::Choice(_) => format!("write {range}"),
            Self::Integer { .. } => format!("write a whole number, {range}"),
            Self::Size { .. } => format!("write \"64MiB\" or the like (B, KiB, MiB, GiB, TiB), {range}"),
            Self::Amount { .. } => format!("write \"512MiB\", \"75%\" or the like, {range}"),
            Self::Duration { .. } => format!("write \"250ms\" or the like (ms, s, m, h), {range}"),
        }
    }
}

impl Mistake {
    /// What to do about it, in one line or two.
    pub fn remedy(&self) -> String {
        match self {
            Self::Shape(mistake) => mistake.remedy(),
            Self::Value(mistake) => mistake.remedy(),
            Self::Secret(mistake) => mistake.remedy(),
            Self::TenantName(_) => {
                "rename it; its keys' prefix can be chosen apart, with prefix = \"…\"".to_owned()
            }
            Self::UserName(_) => "rename it".to_owned(),
            Self::Prefix(error) => prefix_remedy(error),
            Self::Url(error) => error.remedy().to_owned(),
            Self::Directory(error) => directory_remedy(error),
            Self::Limit(mistake) => mistake.remedy(),
        }
    }
}

const NO_TENANT_REMEDY: &str = "\
give a file: tenantry --config FILE (config/standalone.toml is an example),
    or one tenant: tenantry --tenant acme (listens on 127.0.0.1:6380, for redis://127.0.0.1:6379)";

impl ShapeMistake {
    fn remedy(&self) -> String {
        match self {
            Self::Unreadable { .. } => "check the path after --config, and who may read the file".to_owned(),
            Self::Syntax { .. } => "config/reference.toml shows every key in its place".to_owned(),
            Self::NoTenant => NO_TENANT_REMEDY.to_owned(),
            Self::UnknownKey { near: Some(near), .. } => format!("did you mean {near}?"),
            Self::UnknownKey { section, near: None } => format!(
                "known here: \
                {}",
                known_names(*section).join(", ")
            ),
            Self::UnknownVariable => "a key's variable is TENANTRY_ and its path in capitals, joined by _: \
                 TENANTRY_UPSTREAM_MAIN_URL; config/reference.toml has every key"
                .to_owned(),
            Self::Ambiguous { section: Section::Upstream, .. } => {
                "use TENANTRY_UPSTREAM_<NAME>_URL, or keep one upstream in the file".to_owned()
            }
            Self::Ambiguous { .. } => {
                "use TENANTRY_LISTENER_<NUMBER>_<KEY>, or keep one listener in the file".to_owned()
            }
            Self::NumberSkips { .. } => "number them from 1 without gaps".to_owned(),
            Self::NoListener => "head each listener with [[listener]], or remove the empty list for the \
                default"
                .to_owned(),
            Self::Missing { example } => format!("write it, such as {example}"),
            Self::WrongType { expected: Expected::Value(kind), .. } => kind.remedy(),
            Self::WrongType { expected: Expected::Table, .. } => "write it as a section, with [brackets] \
                around its name"
                .to_owned(),
            Self::WrongType { expected: Expected::Tables, .. } => "write each as a section, with \
                [[brackets]] around its name"
                .to_owned(),
        }
    }
}

impl ValueMistake {
    fn remedy(&self) -> String {
        match self {
            Self::Unit { kind, .. } | Self::OutOfRange { kind } => kind.remedy(),
            Self::Choice { words } => format!("write {}", either(words.iter())),
            Self::AboveBound { bound } => format!("lower it, or raise {bound}"),
            Self::TooLittleMemory { .. } => {
                "raise it, or lower downstream.max_connections or workers".to_owned()
            }
            Self::Address { allows_unix: true } => {
                "write \"127.0.0.1:6380\", \"[::1]:6380\" or \"unix:/absolute/path\" or the like".to_owned()
            }
            Self::Address { allows_unix: false } => "write \"127.0.0.1:9180\" or the like".to_owned(),
            Self::AddressTaken { .. } => "give each an address of its own".to_owned(),
            Self::Mode => "write three or four octal digits in quotes, such as \"0660\"".to_owned(),
            Self::ModeWithoutSocket => "leave it out, or listen on \"unix:/absolute/path\"".to_owned(),
            Self::NothingIsSlow => "leave it out, or write slow_reply as well".to_owned(),
            Self::SlowAfterTimeout => "lower it, or raise reply_timeout".to_owned(),
            Self::NeverOpens => "write enabled = false, or one of them".to_owned(),
            Self::SentinelsOnly => "leave it out, or name sentinels in the url".to_owned(),
            Self::AddressMap => {
                "write \"10.0.0.1:6379=203.0.113.5:7001\" or the like: what the node announces, '=', \
                and where to reach it"
                    .to_owned()
            }
            Self::MappedTwice { .. } => "keep one of them".to_owned(),
            Self::NativeInCluster { .. } => {
                "write databases = \"virtual\": then SELECT works on a cluster too".to_owned()
            }
            Self::UpstreamName | Self::UserNameTaken { .. } => "rename it".to_owned(),
            Self::Unknown { what, known } if known.is_empty() => format!("configure it: [{what}.NAME]"),
            Self::Unknown { known, .. } | Self::WhichUpstream { known } => {
                format!("write {}", either(known.iter()))
            }
            Self::Class => {
                "name it after an ACL category such as read, write or scripting, a command, or scan; or say \
                which commands: commands = \"+@read -keys\""
                    .to_owned()
            }
            Self::NothingIsSent => {
                "name others: what the proxy answers itself or composes of several requests has \
                the upstream's reply_timeout for each of them"
                    .to_owned()
            }
            Self::Rule(error) => rule_remedy(error).to_owned(),
            Self::ChoosesNothing => {
                "begin with +@all to take commands away from all: \"+@all -keys\"; rules begin with none"
                    .to_owned()
            }
            Self::NothingOfItsTenant => "allow some that the tenant's commands allow".to_owned(),
            Self::NobodyCanUse => {
                "give the listener a tenant = \"…\", or a tenant a [[tenant.NAME.user]] to authenticate as"
                    .to_owned()
            }
        }
    }
}

impl SecretMistake {
    fn remedy(&self) -> String {
        match self {
            Self::InClear { allows_digest: true } => "write \"env:NAME\", \"file:/path\", or \
                \"sha256:<digest>\" with the \
                 digest from: printf %s 'the password' | sha256sum"
                .to_owned(),
            Self::InClear { allows_digest: false } => {
                "write \"env:NAME\" or \"file:/path\": Redis must be told it in clear, so a digest will not \
                    do"
                .to_owned()
            }
            Self::Digest(_) => "make it with: printf %s 'the password' | sha256sum".to_owned(),
            Self::Unset { name } => format!("set {name} where tenantry is started"),
            Self::File { .. } => "check the path, and who may read the file".to_owned(),
            Self::Empty { .. } | Self::NotText { .. } => "put the password there, and nothing \
                else"
                .to_owned(),
            Self::UsernameAlone => "add the password: user:password@ in the url, or password = \
                \"env:NAME\""
                .to_owned(),
            Self::SentinelUsernameAlone => "add it: sentinel_password = \"env:NAME\"".to_owned(),
        }
    }
}

fn rule_remedy(error: &SelectionError) -> &'static str {
    match error {
        SelectionError::NoSign { .. } => {
            "write +command, -command, +@category or -@category, with spaces between"
        }
        SelectionError::UnknownCommand { .. } => {
            "docs/commands.md lists the commands; a subcommand is written config|get"
        }
        SelectionError::FirstArgument { .. } => "choose the whole command, or leave it out",
        SelectionError::UnknownCategory { .. } => "redis-cli ACL CAT lists the categories",
    }
}

fn prefix_remedy(error: &PrefixError) -> String {
    match error {
        PrefixError::Empty => "leave it out for the default, or write something like \"acme:\"".to_owned(),
        PrefixError::TooLong { .. } => "shorten it: every key of every request carries it".to_owned(),
        PrefixError::Forbidden { .. } => {
            "use printable ASCII without space and * ? [ ] \\ ^ { }, which mean something in Redis' patterns"
                .to_owned()
        }
        PrefixError::Reserved { .. } => "choose another one".to_owned(),
        PrefixError::NoTag { prefix } => format!("write a word before it: \"acme{prefix}\""),
        PrefixError::NoSeparator { prefix } => format!("end it with one: \"{prefix}:\""),
    }
}

fn directory_remedy(error: &DirectoryError) -> String {
    match error {
        DirectoryError::DuplicateTenant { .. } | DirectoryError::DuplicateUser { .. } => {
            "rename one of them".to_owned()
        }
        DirectoryError::NoSecret { .. } => "add one: secrets = [\"env:NAME\"]".to_owned(),
        DirectoryError::NoSuchDatabase { .. } => "choose a smaller one, or raise database_count".to_owned(),
        DirectoryError::TenantPrefix { error, .. } | DirectoryError::FeaturePrefix { error, .. } => {
            prefix_remedy(error)
        }
        DirectoryError::TenantsMeet { .. } => {
            "give one of them another prefix: a name in the inner one would be a name in the outer one"
                .to_owned()
        }
        DirectoryError::FeaturesMeet { outer: (holder, prefix), .. } => format!(
            "keep them apart: give {holder} a prefix of its own instead of '{prefix}'{}",
            match holder {
                Holder::Listener => " (remove the listener's tenant and add a user with a prefix)",
                Holder::User(..) => "",
            }
        ),
    }
}

fn known_names(section: Section) -> Vec<&'static str> {
    section.keys().map(|key| key.name).chain(section.subsections().iter().copied()).collect()
}

/// `a`, `a or b`, `a, b or c`.
fn either<T: fmt::Display>(words: impl Iterator<Item = T>) -> String {
    let mut words: Vec<String> = words.map(|word| format!("\"{word}\"")).collect();
    match (words.pop(), words.is_empty()) {
        (Some(last), false) => format!("{} or {last}", words.join(", ")),
        (last, _) => last.unwrap_or_default(),
    }
}

impl ShapeMistake {
    /// A key that `section` does not have, with the known one that it resembles most.
    pub fn unknown_key(section: Section, written: &str) -> Self {
        let distance = |known: &&str| strsim::damerau_levenshtein(known, written);
        let near = known_names(section).into_iter().min_by_key(distance);
        // A third of the letters wrong is a slip of the fingers; more is another word.
        let near = near.filter(|known| distance(known) * 3 <= known.len().max(written.len()));
        Self::UnknownKey { section, near }
    }
}
