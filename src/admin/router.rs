//! What is served under which path.

use super::breakers;
use super::topology::Topologies;
use crate::memory::Gauge;
use crate::metrics::publish::{MemoryFigures, Registry};
use crate::upstream::Healths;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use std::fmt;
use std::sync::Arc;

/// What the pages show.
#[derive(Clone)]
pub struct AdminState {
    /// The series of the process, and with them the readiness of the upstreams.
    pub registry: Registry,
    /// The nodes of the upstreams.
    pub topologies: Topologies,
    /// How those nodes are.
    pub healths: Arc<Healths>,
    /// How short memory is.
    pub memory: Arc<Gauge>,
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
/breakers which of them are asked, as JSON; POST a form to say it yourself: upstream=, node=, breaker=open|closed|automatic
";

/// Prometheus' text format, "Basic info".
const EXPOSITION: &str = "text/plain; version=0.0.4";

/// All pages. Other paths are answered 404, other methods than a page has 405.
pub fn router(state: AdminState) -> Router {
    Router::new()
        .route("/", get(|| async { INDEX }))
        .route("/metrics", get(metrics))
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(readyz))
        .route("/topology", get(topology))
        .route("/breakers", get(breakers_page).post(force_breaker))
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page; / lists what is here\n") })
        .with_state(state)
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    state.registry.topologies_are(state.topologies.figures());
    state.registry.breakers_are(breakers::figures(&state.healths));
    state.registry.memory_is(MemoryFigures {
        ceiling: state.memory.ceiling(),
        level: state.memory.level() as u8,
        held_by_clients: u64::try_from(state.memory.held_by_clients()).unwrap_or(u64::MAX),
    });
    ([(header::CONTENT_TYPE, EXPOSITION)], state.registry.render())
}

async fn topology(State(state): State<AdminState>) -> impl IntoResponse {
    state.topologies.page()
}

async fn breakers_page(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], breakers::page(&state.healths))
}

async fn force_breaker(
    State(state): State<AdminState>,
    headers: HeaderMap,
    form: String,
) -> impl IntoResponse {
    breakers::force(&state.healths, &headers, &form)
}

async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    let (refused, partly_refused) = state.healths.complaints();
    let report = match state.registry.readiness().report() {
        Ok(remarks) if refused.is_empty() => Ok(remarks.into_iter().chain(partly_refused)),
        Ok(_) => Err(refused),
        Err(reasons) => Err(reasons.into_iter().chain(refused).collect()),
    };
    match report {
        Ok(remarks) => (StatusCode::OK, lines(std::iter::once("ready".to_owned()).chain(remarks))),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, lines(reasons)),
    }
}

fn lines(lines: impl IntoIterator<Item = String>) -> String {
    lines.into_iter().map(|line| line + "\n").collect()
}
