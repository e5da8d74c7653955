//! What applications speak through: redis-py, ioredis and node-redis. Each is a script in `tests/clients` that runs
//! the basic workload of an application as a process of its own, with the library's plain class and with its class
//! for clusters.
//!
//! `make test` installs the libraries. One that is missing is a failing test.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::servers::{Proxy, RedisCluster, RedisServer, SentinelGroup, Setup};

/// Two tenants to which the proxy is a cluster of one node; the secret is SHA-256 of `lone-secret`.
const CLUSTERS: &str = r#"
[tenant.lone]
cluster_persona = true
[[tenant.lone.user]]
name = "lone"
secrets = ["sha256:421a70e1fb3784013c285b46ad1704bc5e41aaab8b99d4ef55a2cb52a5f5f065"]
[tenant.solo]
cluster_persona = true
[[tenant.solo.user]]
name = "solo"
secrets = ["sha256:421a70e1fb3784013c285b46ad1704bc5e41aaab8b99d4ef55a2cb52a5f5f065"]
"#;

const REMEDY: &str = "`make test` installs what is missing, as do `scripts/install-missing python3-venv node npm` \
                      and then `scripts/install-clients`";

/// Which of a library's classes is used, by users of which two tenants, with their passwords.
const MODES: [(&str, [[&str; 2]; 2]); 2] = [
    ("plain", [["acme", "acme-secret"], ["globex", "globex-secret"]]),
    ("cluster", [["lone", "lone-secret"], ["solo", "lone-secret"]]),
];

/// A client library.
struct Library {
    name: &'static str,
    /// Below [`installed`], or on the path.
    interpreter: &'static str,
    script: &'static str,
    /// The versions of the protocol that it speaks.
    protocols: &'static [u8],
}

const REDIS_PY: Library = Library {
    name: "redis-py",
    interpreter: "python/bin/python3",
    script: "tests/clients/redis_py.py",
    protocols: &[2, 3],
};

const IOREDIS: Library =
    Library { name: "ioredis", interpreter: "node", script: "tests/clients/ioredis.mjs", protocols: &[2] };

const NODE_REDIS: Library = Library {
    name: "node-redis",
    interpreter: "node",
    script: "tests/clients/node_redis.mjs",
    protocols: &[2, 3],
};

impl Library {
    fn start(&self, arguments: &[&str]) -> Child {
        let name = self.name;
        assert!(installed().join("installed").is_file(), "{name} is not installed: {REMEDY}");
        let own = installed().join(self.interpreter);
        Command::new(if own.exists() { own } else { self.interpreter.into() })
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join(self.script))
            .args(arguments)
            .current_dir(installed())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{name} does not start ({error}): {REMEDY}"))
    }
}

/// Where `scripts/install-clients` puts them: beside what cargo builds.
fn installed() -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR")).with_file_name("clients")
}

/// The library's workload through a proxy in front of `upstream`: with either class, in each version of the
/// protocol, for two tenants at once.
fn runs_its_workload(library: &Library, upstream: &str) {
    let proxy = Proxy::start(&Setup { sections: CLUSTERS, ..Setup::for_upstream(upstream) });
    let port = proxy.open_port().to_string();
    for (mode, users) in MODES {
        for protocol in library.protocols {
            let scripts = users.map(|[user, password]| {
                library.start(&["127.0.0.1", &port, user, password, mode, &protocol.to_string()])
            });
            let outputs = scripts.map(|script| script.wait_with_output().expect("the script ends"));
            for output in &outputs {
                is_done(library, mode, *protocol, output);
            }
        }
    }
}

fn is_done(library: &Library, mode: &str, protocol: u8, output: &Output) {
    let name = library.name;
    let done = format!(r#"{{"library":"{name}","mode":"{mode}","protocol":{protocol},"version":""#);
    let [printed, complaint] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(
        output.status.success() && printed.starts_with(&done),
        "{name}, {mode} mode, RESP{protocol}: {}\n{printed}{complaint}",
        output.status
    );
    print!("{printed}");
}

/// The tests of one deployment, which is something with a `url`.
macro_rules! workloads {
    ($deployment:ident: $start:expr) => {
        mod $deployment {
            use super::*;

            #[test]
            fn redis_py_runs_its_workload_in_plain_and_in_cluster_mode() {
                let deployment = $start;
                runs_its_workload(&REDIS_PY, &deployment.url());
            }

            #[test]
            fn ioredis_runs_its_workload_in_plain_and_in_cluster_mode() {
                let deployment = $start;
                runs_its_workload(&IOREDIS, &deployment.url());
            }

            #[test]
            fn node_redis_runs_its_workload_in_plain_and_in_cluster_mode() {
                let deployment = $start;
                runs_its_workload(&NODE_REDIS, &deployment.url());
            }
        }
    };
}

workloads!(standalone: RedisServer::start());
workloads!(sentinel: SentinelGroup::start());
workloads!(cluster: RedisCluster::start_without_replicas());
