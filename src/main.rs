//! The `tenantry` program: reads the command line, then does what it says.

use std::io::{self, IsTerminal, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::os::unix::ffi::OsStrExt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Parser;

use tenantry::check::Finding;
use tenantry::cli::{CheckOptions, CommandLine, ExplainOptions, HealthOptions, Mode};
use tenantry::config::layers::{Environment, Flags};
use tenantry::config::{self, Config, Sources};
use tenantry::settings::{LogFormat, LogSettings};
use tenantry::tenant::prefix::TenantName;
use tenantry::{check, dev, explain, proxy};

/// A connection's task and socket are aligned to 128 bytes; this allocator has room of that shape, the
/// system's wastes a third on it.
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How long `tenantry health` waits for an answer.
const HEALTH_TIMEOUT: Duration = Duration::from_secs(2);

fn main() -> ExitCode {
    match act(CommandLine::parse().mode()) {
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error:#}\n"));
            ExitCode::FAILURE
        }
    }
}

fn act(mode: Mode) -> anyhow::Result<ExitCode> {
    match mode {
        Mode::Run(flags) => match config::load(&Sources::of_process(flags.into())) {
            Ok(config) => run(config),
            Err(report) => Ok(misconfigured(&report.to_string())),
        },
        Mode::Check(options) => check_configuration(options),
        Mode::Explain(options) => explain_command(&options),
        Mode::Dev => {
            dev::run(&mut io::stdout(), |toml| -> anyhow::Result<()> {
                let sources = Sources::of_process(Flags::default());
                let config = config::parse(Some(("tenantry dev", toml)), &sources);
                run(config.map_err(|report| anyhow::anyhow!("{report}"))?).map(|_| ())
            })?;
            Ok(ExitCode::SUCCESS)
        }
        Mode::Health(options) => health(&options),
    }
}

fn run(config: Config) -> anyhow::Result<ExitCode> {
    start_log(config.log);
    proxy::run(config)?;
    Ok(ExitCode::SUCCESS)
}

fn check_configuration(options: CheckOptions) -> anyhow::Result<ExitCode> {
    let config = match config::load(&Sources::of_process(options.configuration.into())) {
        Ok(config) => config,
        Err(report) => return Ok(misconfigured(&report.to_string())),
    };
    writeln!(io::stdout(), "{}", config.summary())?;
    if !options.connect {
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let mut code = ExitCode::SUCCESS;
    for settings in config.upstreams {
        for finding in runtime.block_on(check::upstream(settings)) {
            match finding {
                Finding::Good(line) => writeln!(io::stdout(), "{line}")?,
                Finding::Bad(line) => {
                    complain(&format!("{line}\n"));
                    code = ExitCode::FAILURE;
                }
            }
        }
    }
    Ok(code)
}

fn explain_command(options: &ExplainOptions) -> anyhow::Result<ExitCode> {
    let is_file_named = Sources::of_process(options.flags(true)).file().is_some();
    let config = match config::load(&Sources::of_process(options.flags(is_file_named))) {
        Ok(config) => config,
        Err(report) => return Ok(misconfigured(&report.to_string())),
    };
    let tenant = TenantName::parse(&options.tenant)?;
    let binding = config.directory.binding_to_explain(&tenant, options.user.as_deref());
    let Some(binding) = binding else {
        bail!(
            "nobody can be bound to tenant '{tenant}' this way: no listener names it and it has no such user"
        );
    };
    let words: Vec<Vec<u8>> = options.command.iter().map(|word| word.as_bytes().to_vec()).collect();
    io::stdout().write_all(explain::explain(&config, &binding, options.database, &words).as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// Asks `/readyz`: a scratch image has no curl.
fn health(options: &HealthOptions) -> anyhow::Result<ExitCode> {
    let environment = Environment::of_process();
    let address = options
        .address(&environment)
        .to_socket_addrs()?
        .next()
        .context("the admin address has no IP address")?;
    let mut stream = TcpStream::connect_timeout(&address, HEALTH_TIMEOUT)
        .with_context(|| format!("no admin port at {address}"))?;
    stream.set_read_timeout(Some(HEALTH_TIMEOUT))?;
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: tenantry\r\nConnection: close\r\n\r\n")?;
    let mut response = String::new();
    stream.take(64 * 1024).read_to_string(&mut response)?;
    let body = response.split_once("\r\n\r\n").map_or("", |(_, body)| body).trim_end();
    let is_ready = response.starts_with("HTTP/1.1 200");
    writeln!(io::stdout(), "{body}")?;
    Ok(if is_ready { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn misconfigured(report: &str) -> ExitCode {
    complain(report);
    complain("\n");
    ExitCode::from(config::EXIT_CODE)
}

/// Writes to standard error; there is nowhere to tell that this failed.
fn complain(text: &str) {
    drop(io::stderr().write_all(text.as_bytes()));
}

fn start_log(settings: LogSettings) {
    let log = tracing_subscriber::fmt()
        .with_max_level(settings.level)
        .with_writer(io::stderr)
        .with_target(false)
        .with_ansi(io::stderr().is_terminal());
    let is_first = match settings.format {
        LogFormat::Json => log.json().try_init(),
        LogFormat::Pretty => log.try_init(),
    };
    if let Err(error) = is_first {
        complain(&format!("warning: {error}\n"));
    }
}
