//! What is served under which path.

use super::topology::Topologies;
use crate::metrics::publish::Registry;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::fmt;

/// What the pages show.
#[derive(Clone)]
pub struct AdminState {
    /// The series of the process, and with them the readiness of the upstreams.
    pub registry: Registry,
    /// The nodes of the upstreams.
    pub topologies: Topologies,
}

impl fmt::Debug for AdminState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AdminState").finish_non_exhaustive()
    }
}

/// The pages, and what each is for; `/` lists them.
const INDEX: &str = "\
Tenantry admin port
/metrics  Prometheus text
/livez    200 while this process runs
/readyz   200 if every upstream can be reached, with what is wrong nevertheless, else 503 with the reasons
/topology the nodes of each upstream, with their addresses
";

/// Prometheus' text format, "Basic info".
const EXPOSITION: &str = "text/plain; version=0.0.4";

/// All pages. Other paths are answered 404, other methods than GET and HEAD 405.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/topology", get(topology))
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page; / lists what is here\n") })
        .with_state(state)
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    state.registry.topologies_are(state.topologies.figures());
    ([(header::CONTENT_TYPE, EXPOSITION)], state.registry.render())
}

async fn topology(State(state): State<AdminState>) -> impl IntoResponse {
    state.topologies.page()
}

async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    match state.registry.readiness().report() {
        Ok(remarks) => (StatusCode::OK, lines(std::iter::once("ready".to_owned()).chain(remarks))),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, lines(reasons)),
    }
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}
