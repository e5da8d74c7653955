//! What is served under which path.

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
/readyz   200 if every upstream can be reached, else 503 with the reasons
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
        .fallback(|| async { (StatusCode::NOT_FOUND, "no such page; / lists what is here\n") })
        .with_state(state)
}

async fn metrics(State(state): State<AdminState>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, EXPOSITION)], state.registry.render())
}

async fn readyz(State(state): State<AdminState>) -> impl IntoResponse {
    match state.registry.readiness().report() {
        Ok(()) => (StatusCode::OK, "ready\n".to_owned()),
        Err(reasons) => (StatusCode::SERVICE_UNAVAILABLE, reasons.join("\n") + "\n"),
    }
}
