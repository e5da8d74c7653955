//! The command line: what it can say, and nothing of what is then done.
//!
//! Addresses, URLs and counts stay texts here: `config` reads them, so that a mistake in a flag is told
//! together with the mistakes in the file and the environment, in the same words.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::layers::{DEFAULT_ADMIN, Environment, Flags};

const EXAMPLES: &str = "\
Examples:
  tenantry --tenant acme                       one tenant, with the defaults above
  tenantry --config tenantry.toml              everything from a file
  tenantry check --config tenantry.toml        all mistakes at once; exit code 2 if there are any
  tenantry explain --tenant acme -- MGET a b   what would be sent to Redis

config/reference.toml has every key of the file. Each is also an environment variable, such as
TENANTRY_UPSTREAM_MAIN_URL. Flags go before the environment, the environment before the file.
REDIS_URL, or REDIS_HOST, REDIS_PORT, REDIS_DB, REDIS_USERNAME and REDIS_PASSWORD, name the
upstream where nothing else does.";

const LISTEN: &str =
    "Where clients connect: IP:PORT or unix:/path [env: TENANTRY_LISTEN] [default: 127.0.0.1:6380]";
const ADMIN: &str = "Where metrics and health are: IP:PORT [env: TENANTRY_ADMIN] [default: 127.0.0.1:9180]";
const UPSTREAM: &str = "Where Redis is: redis://[user:password@]host[:port][/db], \
    redis+cluster://[…@]host[:port],…, redis+sentinel://[…@]host[:port],…/group[/db], unix:///path[?db=N] or \
    host:port [env: TENANTRY_UPSTREAM] [default: redis://127.0.0.1:6379]";
const TENANT: &str = "The tenant of all connections to the listener; unless a file says otherwise, its keys \
    begin \
                      with NAME: upstream [env: TENANTRY_TENANT]";
const WORKERS: &str = "Threads that carry traffic [env: TENANTRY_WORKERS] [default: one per core]";

/// Many tenants, one Redis, no change to the application.
#[derive(Debug, Parser)]
#[command(name = "tenantry", version, about, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
pub struct CommandLine {
    #[command(subcommand)]
    mode: Option<Mode>,
    #[command(flatten)]
    run: ConfigFlags,
}

/// What the program is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Subcommand)]
pub enum Mode {
    /// Carry traffic; what is done when no command is given
    Run(ConfigFlags),
    /// Show all mistakes of a configuration, each with its place and remedy
    Check(CheckOptions),
    /// Show what would be sent to Redis for a command, without sending it
    Explain(ExplainOptions),
    /// Start a private redis-server and two example tenants, and print what to try
    Dev,
    /// Ask a running tenantry whether it is ready; exit code 0 if so (for container probes)
    Health(HealthOptions),
}

/// Where the configuration comes from.
#[derive(Args, Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigFlags {
    /// The file.
    #[arg(long, short, value_name = "FILE", help = "Configuration file (TOML) [env: TENANTRY_CONFIG]")]
    pub config: Option<PathBuf>,
    /// Where clients connect.
    #[arg(long, value_name = "ADDRESS", help = LISTEN)]
    pub listen: Option<String>,
    /// Where metrics and health are.
    #[arg(long, value_name = "ADDRESS", help = ADMIN)]
    pub admin: Option<String>,
    /// Where Redis is.
    #[arg(long, value_name = "URL", help = UPSTREAM)]
    pub upstream: Option<String>,
    /// The tenant of the listener.
    #[arg(long, value_name = "NAME", help = TENANT)]
    pub tenant: Option<String>,
    /// Threads that carry traffic.
    #[arg(long, value_name = "NUMBER", help = WORKERS)]
    pub workers: Option<String>,
}

/// `tenantry check`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct CheckOptions {
    /// The configuration to check.
    #[command(flatten)]
    pub configuration: ConfigFlags,
    /// Also connect to every upstream
    #[arg(long)]
    pub connect: bool,
}

/// `tenantry explain`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct ExplainOptions {
    /// The file.
    #[arg(long, short, value_name = "FILE", help = "Configuration file (TOML) [env: TENANTRY_CONFIG]")]
    pub config: Option<PathBuf>,
    /// The tenant that sends the command; without a configuration its keys begin with NAME:
    #[arg(long, value_name = "NAME")]
    pub tenant: String,
    /// The user who sends it, if the tenant has several
    #[arg(long, value_name = "NAME")]
    pub user: Option<String>,
    /// The database that is selected
    #[arg(long, value_name = "NUMBER")]
    pub database: Option<u32>,
    /// The command and its arguments, after --
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

impl ExplainOptions {
    /// Where its configuration comes from. The tenant is a flag of the configuration only where there is no
    /// file: a file's listeners stay bound to the tenants they name.
    pub fn flags(&self, is_file_named: bool) -> Flags {
        let tenant = (!is_file_named).then(|| self.tenant.clone());
        Flags { config: self.config.clone(), tenant, ..Flags::default() }
    }
}

/// `tenantry health`
#[derive(Args, Clone, Debug, PartialEq, Eq)]
pub struct HealthOptions {
    /// The admin port to ask.
    #[arg(long, value_name = "ADDRESS", help = ADMIN)]
    pub admin: Option<String>,
}

impl HealthOptions {
    /// The admin port to ask: the flag's, a variable's, or the default. No file is read, so that a probe
    /// stays cheap.
    pub fn address<'o>(&'o self, environment: &'o Environment) -> &'o str {
        let variables = ["TENANTRY_ADMIN", "TENANTRY_ADMIN_ADDRESS"];
        let in_environment = || variables.iter().find_map(|name| environment.get(name));
        self.admin.as_deref().or_else(in_environment).unwrap_or(DEFAULT_ADMIN)
    }
}

impl CommandLine {
    /// What is asked for: `run` when no command is given.
    pub fn mode(self) -> Mode {
        let run = self.run;
        self.mode.unwrap_or(Mode::Run(run))
    }
}

impl From<ConfigFlags> for Flags {
    fn from(flags: ConfigFlags) -> Self {
        let ConfigFlags { config, listen, admin, upstream, tenant, workers } = flags;
        Self { config, listen, admin, upstream, tenant, workers }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    fn mode(line: &str) -> Mode {
        CommandLine::try_parse_from(line.split(' ')).unwrap().mode()
    }

    #[test]
    fn flags_alone_mean_run() {
        let flags =
            ConfigFlags { tenant: Some("acme".into()), workers: Some("2".into()), ..ConfigFlags::default() };
        assert_eq!(Mode::Run(flags.clone()), mode("tenantry --tenant acme --workers 2"));
        assert_eq!(Mode::Run(flags), mode("tenantry run --tenant acme --workers 2"));
        assert_eq!(Mode::Run(ConfigFlags::default()), mode("tenantry"));
    }

    #[test]
    fn check_takes_the_flags_of_run() {
        let configuration = ConfigFlags { config: Some("a.toml".into()), ..ConfigFlags::default() };
        assert_eq!(
            Mode::Check(CheckOptions { configuration, connect: true }),
            mode("tenantry check -c a.toml --connect")
        );
    }

    #[test]
    fn explain_takes_a_command_after_two_dashes() {
        let expected = ExplainOptions {
            config: None,
            tenant: "acme".into(),
            user: None,
            database: Some(3),
            command: ["MGET", "a", "--b"].map(OsString::from).to_vec(),
        };
        assert_eq!(
            Mode::Explain(expected),
            mode("tenantry explain --tenant acme --database 3 -- MGET a --b")
        );
        assert!(CommandLine::try_parse_from(["tenantry", "explain", "--tenant", "acme"]).is_err());
    }

    #[test]
    fn health_asks_the_admin_port_of_flag_or_variable_or_the_default() {
        let health = |line| match mode(line) {
            Mode::Health(options) => options,
            Mode::Run(_) | Mode::Check(_) | Mode::Explain(_) | Mode::Dev => panic!("{line}"),
        };
        let variable: Environment = [("TENANTRY_ADMIN", "10.0.0.1:1")].into_iter().collect();
        assert_eq!("127.0.0.1:9180", health("tenantry health").address(&Environment::default()));
        assert_eq!("10.0.0.1:1", health("tenantry health").address(&variable));
        assert_eq!("10.0.0.2:2", health("tenantry health --admin 10.0.0.2:2").address(&variable));
    }

    #[test]
    fn dev_needs_no_flags() {
        assert_eq!(Mode::Dev, mode("tenantry dev"));
    }

    #[test]
    fn definition_is_sound() {
        CommandLine::command().debug_assert();
    }
}
