//! The server's life: from the listener to the last connection.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::http::{Method, Uri};
use plimsoll_executor::control::Store;
use plimsoll_warehouse::Warehouse;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};

use super::health::Health;
use super::problem::{Code, Problem};
use super::{Api, ApiOptions, refresh, router};

/// How long connections may take to close after their requests were ended.
const CLOSING: Duration = Duration::from_secs(1);

/// Serves the API on `listener` until `shutdown` is done.
///
/// Then no connection is taken any more, and requests that run may go on for
/// [`ApiOptions::shutdown_grace`]; after that they are ended. Meanwhile the
/// warehouse is refreshed every [`ApiOptions::refresh_every`].
///
/// # Errors
/// Where the listener fails for good.
pub async fn serve(
    listener: TcpListener,
    warehouse: Arc<Warehouse>,
    jobs: Store,
    options: ApiOptions,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (health_sender, health) = watch::channel(Health::Starting);
    let (ending_sender, ending) = watch::channel(false);
    let (draining, drained) = oneshot::channel();
    let grace = options.shutdown_grace;
    // Ends by itself once the last request has let go of `health`.
    tokio::spawn(refresh::forever(
        Arc::clone(&warehouse),
        options.refresh_every,
        health_sender,
    ));
    let api = Api {
        slots: super::slots::Slots::new(options.concurrent_queries),
        warehouse,
        jobs,
        options,
        health,
        ending,
    };

    let app = router(Arc::new(api)).into_make_service_with_connect_info::<SocketAddr>();
    let server = axum::serve(listener, app).with_graceful_shutdown(async move {
        shutdown.await;
        tracing::debug!("no new connections; requests that run go on");
        // Nobody listens where the server failed; then there is nothing to drain.
        draining.send(()).ok();
    });
    let mut server = std::pin::pin!(server.into_future());
    let out_of_time = async {
        if drained.await.is_err() {
            return std::future::pending().await;
        }
        tokio::time::sleep(grace).await;
    };
    tokio::select! {
        ended = &mut server => return ended,
        () = out_of_time => {}
    }
    tracing::warn!(
        "ending the requests that did not end within {} s",
        grace.as_secs_f64()
    );
    ending_sender.send_replace(true);
    match tokio::time::timeout(CLOSING, server).await {
        Ok(ended) => ended,
        Err(_) => {
            tracing::warn!("leaving connections whose clients do not read");
            Ok(())
        }
    }
}

/// A path that is no route.
pub(super) async fn unknown_route(uri: Uri) -> Problem {
    Problem::new(Code::UnknownRoute, format!("there is no `{}`", uri.path()))
        .with_help("/api/v1/openapi.json lists every path")
}

/// A path that takes other methods; axum says which in `Allow`.
pub(super) async fn wrong_method(method: Method, uri: Uri) -> Problem {
    Problem::new(
        Code::MethodNotAllowed,
        format!("`{}` does not take {method}", uri.path()),
    )
    .with_help("the header `allow` lists the methods that it takes")
}
