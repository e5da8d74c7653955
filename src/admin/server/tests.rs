use super::*;
use crate::admin::topology::{Topologies, Watched};
use crate::memory::Gauge;
use crate::metrics::publish::{Names, Registry};
use crate::routing::topology::{NodeId, Topology};
use crate::settings::MemorySettings;
use crate::upstream::Healths;
use crate::upstream::feed::feed;
use axum::routing::get;
use std::io::{Read, Write};
use std::net::{self, SocketAddr};
use std::sync::Arc;

/// A running admin port; it ends with the test.
struct Admin {
    address: SocketAddr,
    registry: Registry,
    shutdown: CancellationToken,
    thread: Option<thread::JoinHandle<()>>,
}

impl Admin {
    fn start() -> Self {
        let registry = registry();
        let pages = router(state(&registry));
        Self::start_with(registry, pages, LIMITS)
    }

    fn start_with(registry: Registry, pages: Router, limits: Limits) -> Self {
        let listener = net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let thread = serve_router(listener, pages, limits, shutdown.clone()).unwrap();
        Self { address, registry, shutdown, thread: Some(thread) }
    }

    fn connect(&self) -> net::TcpStream {
        let stream = net::TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn get(&self, path: &str) -> Reply {
        self.ask(&format!("GET {path} HTTP/1.1\r\nHost: admin\r\n\r\n"))
    }

    fn ask(&self, request: &str) -> Reply {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).unwrap();
        Reply::read(&mut stream)
    }
}

impl Drop for Admin {
    fn drop(&mut self) {
        self.shutdown.cancel();
        self.thread.take().map(thread::JoinHandle::join).unwrap().unwrap();
    }
}

struct Reply {
    status: u16,
    head: String,
    body: String,
}

impl Reply {
    /// Reads until the server closes, as it does after one reply.
    fn read(stream: &mut net::TcpStream) -> Self {
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no reply: {text:?}"));
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Self { status, head: head.to_lowercase(), body: body.to_owned() }
    }
}

fn state(registry: &Registry) -> AdminState {
    let (_, feed) = feed(Topology::of_one_node(NodeId(0)));
    let main = Watched { name: "main".to_owned(), is_fixed: true, feed };
    let healths = Arc::new(Healths::new([], Arc::default(), tokio::time::Instant::now().into_std()));
    let memory = Arc::new(Gauge::new(MemorySettings::default(), 1));
    let topologies = Topologies::new([main], Arc::default());
    AdminState { registry: registry.clone(), topologies, healths, memory }
}

fn registry() -> Registry {
    Registry::new(Names {
        tenants: vec!["acme".to_owned()],
        commands: vec!["get".to_owned()],
        upstreams: vec!["main".to_owned()],
    })
}

#[test]
fn metrics_are_prometheus_text() {
    let admin = Admin::start();
    let (mut worker, mut publisher) = (admin.registry.worker(), admin.registry.publisher());
    worker.command(0, 0);
    publisher.publish(&mut worker);
    let reply = admin.get("/metrics");
    assert_eq!(reply.status, 200);
    assert!(reply.head.contains("content-type: text/plain; version=0.0.4"), "{}", reply.head);
    assert!(
        reply.body.contains("\ntenantry_commands_total{tenant=\"acme\",cmd=\"get\"} 1\n"),
        "{}",
        reply.body
    );
}

#[test]
fn process_is_alive_even_when_it_is_not_ready() {
    let admin = Admin::start();
    let reply = admin.get("/livez");
    assert_eq!((reply.status, reply.body.as_str()), (200, "ok\n"));
    assert_eq!(admin.get("/readyz").status, 503);
}

#[test]
fn readiness_follows_the_upstream_and_says_why_not() {
    let admin = Admin::start();
    let readiness = admin.registry.readiness();
    readiness.listening();
    assert_eq!(admin.get("/readyz").body, "the nodes of upstream 'main' are not known yet\n");
    readiness.primaries_are(0, 1, vec![1, 2]);
    readiness.primary_up(0, (0, 1));
    let reply = admin.get("/readyz");
    assert_eq!((reply.status, reply.body.as_str()), (200, "ready\n"));
    readiness.primary_failed(0, 2, "connection refused");
    let reply = admin.get("/readyz");
    let remark = "ready\nupstream 'main': 1 of 2 primaries cannot be reached: connection refused\n";
    assert_eq!((reply.status, reply.body.as_str()), (200, remark));
    readiness.primary_down(0, 1, "connection reset");
    readiness.draining();
    let reply = admin.get("/readyz");
    assert_eq!(reply.status, 503);
    let reasons = "draining: new connections are refused\n\
                   upstream 'main' cannot be reached: connection reset\n";
    assert_eq!(reply.body, reasons);
}

#[test]
fn index_lists_every_page() {
    let admin = Admin::start();
    let index = admin.get("/");
    assert_eq!(index.status, 200);
    let pages: Vec<&str> = index.body.lines().skip(1).filter_map(|line| line.split(' ').next()).collect();
    assert_eq!(pages, ["/metrics", "/livez", "/readyz", "/topology", "/breakers"]);
    for page in pages {
        assert_ne!(admin.get(page).status, 404, "{page}");
    }
}

#[test]
fn unknown_path_is_not_found() {
    let reply = Admin::start().get("/metrics/../etc");
    assert_eq!((reply.status, reply.body.as_str()), (404, "no such page; / lists what is here\n"));
}

#[test]
fn only_reading_methods_are_allowed() {
    let admin = Admin::start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let reply = admin.ask(&format!("{method} /metrics HTTP/1.1\r\nContent-Length: 0\r\n\r\n"));
        assert_eq!(reply.status, 405, "{method}");
    }
}

#[test]
fn connection_ends_after_one_reply() {
    let reply = Admin::start().ask("GET /livez HTTP/1.1\r\nConnection: keep-alive\r\n\r\n");
    assert!(reply.head.contains("connection: close"), "{}", reply.head);
}

#[test]
fn endless_headers_are_refused() {
    let long = "x".repeat(2 * BUFFER);
    let admin = Admin::start();
    let mut stream = admin.connect();
    // The server may close before it has read all of it, so the write or the read may fail: both are a
    // refusal.
    let sent = stream.write_all(format!("GET /livez HTTP/1.1\r\nX: {long}\r\n\r\n").as_bytes());
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply);
    let text = String::from_utf8_lossy(&reply);
    assert!(sent.is_err() || read.is_err() || text.starts_with("HTTP/1.1 431"), "{text}");
    assert!(!text.starts_with("HTTP/1.1 200"), "{text}");
    assert_eq!(admin.get("/livez").status, 200);
}

#[test]
fn bytes_that_are_not_http_are_a_bad_request() {
    assert_eq!(Admin::start().ask("*1\r\n$4\r\nPING\r\n\r\n").status, 400);
}

#[test]
fn clients_that_never_finish_their_headers_give_way_to_others() {
    let registry = registry();
    let limits = Limits { connections: 2, headers: Duration::from_millis(50), ..LIMITS };
    let pages = router(state(&registry));
    let admin = Admin::start_with(registry, pages, limits);
    let mut stuck: Vec<_> = (0..4).map(|_| admin.connect()).collect();
    for stream in &mut stuck {
        stream.write_all(b"GET /livez HTTP/1.1\r\nHost: ").unwrap();
    }
    assert_eq!(admin.get("/livez").status, 200);
    let mut rest = Vec::new();
    stuck[0].read_to_end(&mut rest).unwrap();
    assert!(!rest.starts_with(b"HTTP/1.1 200"));
}

#[test]
fn whole_exchange_has_a_deadline() {
    let pages =
        Router::new().route("/stuck", get(std::future::pending::<&str>)).route("/", get(|| async { "" }));
    let limits = Limits { connections: 1, whole: Duration::from_millis(50), ..LIMITS };
    let admin = Admin::start_with(registry(), pages, limits);
    let mut stuck = admin.connect();
    stuck.write_all(b"GET /stuck HTTP/1.1\r\n\r\n").unwrap();
    let mut rest = Vec::new();
    stuck.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    assert_eq!(admin.get("/").status, 200);
}

#[test]
fn shutdown_ends_the_thread_although_a_client_is_connected() {
    let admin = Admin::start();
    let mut idle = admin.connect();
    assert_eq!(admin.get("/livez").status, 200);
    drop(admin);
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
}
