//! Is the process alive, and can it answer?

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::Api;
use super::openapi::ReadyProblems;
use super::problem::{Code, Problem};

/// How the last refresh of the warehouse went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Health {
    /// Nobody looked yet.
    Starting,
    /// Everything could be read.
    Ready,
    /// It could not be read.
    Unreadable {
        /// Why, in one line.
        reason: String,
        /// What to do about it.
        help: String,
    },
}

/// That the process is alive.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Alive {
    /// Always `alive`.
    #[schema(example = "alive")]
    status: &'static str,
    /// The version that runs.
    version: &'static str,
}

/// That the warehouse can be read.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Ready {
    /// Always `ready`.
    #[schema(example = "ready")]
    status: &'static str,
    /// Where the warehouse lies.
    warehouse: String,
    /// False where that place holds no warehouse yet; every table is then empty.
    exists: bool,
}

/// Says that the process is alive; asks nothing else.
#[utoipa::path(
    get,
    path = "/healthz",
    tag = "health",
    responses((status = 200, description = "The process is alive.", body = Alive))
)]
pub(super) async fn alive() -> Json<Alive> {
    Json(Alive {
        status: "alive",
        version: env!("CARGO_PKG_VERSION"),
    })
}

/// Says whether the warehouse can be read, by the last refresh of it.
#[utoipa::path(
    get,
    path = "/readyz",
    tag = "health",
    responses(
        (status = 200, description = "The warehouse can be read.", body = Ready),
        ReadyProblems
    )
)]
pub(super) async fn ready(State(api): State<Arc<Api>>) -> Result<Json<Ready>, Problem> {
    let health = api.health.borrow().clone();
    match health {
        Health::Ready => Ok(Json(Ready {
            status: "ready",
            warehouse: api.warehouse.location().to_string(),
            exists: api.warehouse.exists(),
        })),
        Health::Starting => {
            let detail = "the first look at the warehouse is under way";
            Err(Problem::new(Code::WarehouseUnreadable, detail).with_help("ask again in a second"))
        }
        Health::Unreadable { reason, help } => {
            Err(Problem::new(Code::WarehouseUnreadable, reason).with_help(help))
        }
    }
}
