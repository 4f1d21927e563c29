//! `plimsoll serve`: the warehouse over HTTP, and workers for the jobs that are handed in.

mod labour;
mod upkeep;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;
use plimsoll_executor::control::Store;
use plimsoll_query_api::api::{self, ApiOptions};
use plimsoll_warehouse::{Warehouse, WarehouseOptions};
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::recovery::recover_always;
use super::{reading, runtime};
use crate::failure::{Exit, Failure};
use crate::interrupt::Interrupts;
use crate::settings::{ServeSettings, Settings};
use crate::terminal::{Console, say};
use upkeep::maintain_always;

/// The arguments of `serve`; the rest are settings.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Examples:
  plimsoll serve
  plimsoll serve --listen 127.0.0.1:9090 --warehouse /srv/plimsoll/warehouse
  curl -s localhost:8080/api/v1/runs
  plimsoll serve --role worker --control postgres://plimsoll@db/plimsoll
      a worker for the jobs of another host's API

Nobody is asked who they are: stay on 127.0.0.1, or put a proxy in front that
does. Jobs that `plimsoll submit` hands in are worked on, and outlive crashes.
Runs that crashes leave behind are published, now and every minute, and the
warehouse is maintained as by `plimsoll warehouse optimize` and `vacuum`.
Ctrl-C lets tasks end within --grace, then puts them back; twice ends at once.")]
pub(crate) struct ServeArgs {}

/// Serves until the user ends it.
pub(crate) fn execute(
    _: &ServeArgs,
    settings: &Settings,
    console: &Console,
) -> Result<Exit, Failure> {
    let runtime = runtime::serving()?;
    let served = runtime.block_on(serve(settings, console));
    // What is being published is safe in its spool, and the next start goes on with it.
    runtime::end(runtime);
    served
}

async fn serve(settings: &Settings, console: &Console) -> Result<Exit, Failure> {
    let mut interrupts = Interrupts::listen()?;
    let api = match settings.serve.roles.api {
        true => Some(listen(&settings.serve).await?),
        false => None,
    };
    reading::let_many_files_open();
    let store = labour::open(&settings.control).await?;
    let (end, ending) = watch::channel(false);
    let answering = match api {
        Some((listener, warning)) => {
            if let Some(warning) = warning {
                say(&warning);
            }
            Some(answer(listener, &store, settings, console, until(&ending)).await?)
        }
        None => {
            announce_nothing(settings, console)?;
            None
        }
    };
    let answering = async {
        match answering {
            Some(server) => server.await,
            None => Ok(()),
        }
    };
    let working = async {
        match settings.serve.roles.worker {
            true => labour::work(&store, settings, until(&ending)).await,
            // What has neither API nor workers goes on until it is told to end as well.
            false => until(&ending).await,
        }
    };
    let interrupted = async {
        interrupts.next().await;
        if settings.serve.roles.worker {
            console.note("ending: tasks may go on for a while; once more ends at once");
        }
        end.send_replace(true);
        interrupts.next().await;
    };
    let served = tokio::select! {
        (served, ()) = async { tokio::join!(answering, working) } => served,
        () = interrupted => return Err(Failure::cancelled()),
        never = recover_always(settings, console) => match never {},
        never = maintain_always(settings, console) => match never {},
        never = labour::keep_books(&store, settings) => match never {},
        never = labour::schedule(&store, settings) => match never {},
    };
    served.map_err(|error| {
        Failure::failed(
            format_args!("the server ended: {error}"),
            "start it again; what is in the warehouse is safe",
        )
    })?;
    console.note("ended");
    Ok(Exit::Done)
}

/// Ready once the service is told to end.
fn until(ending: &watch::Receiver<bool>) -> impl Future<Output = ()> + Send + use<> {
    let mut ending = ending.clone();
    async move {
        // Where nobody can say more, it ends as well.
        ending.wait_for(|ending| *ending).await.ok();
    }
}

/// Opens the warehouse and says where it is served; what comes back serves it.
async fn answer(
    listener: TcpListener,
    store: &Store,
    settings: &Settings,
    console: &Console,
    ended: impl Future<Output = ()> + Send + 'static,
) -> Result<impl Future<Output = io::Result<()>>, Failure> {
    let address = listener.local_addr().map_err(|error| no_address(&error))?;
    if !address.ip().is_loopback() {
        say(&format!(
            "warning: {address} can be reached by others, and nobody is asked who they are"
        ));
    }
    let engine = WarehouseOptions {
        answers: settings.serve.answers,
        ..reading::options(settings)
    };
    let warehouse = Warehouse::open(&settings.warehouse, engine)
        .await
        .map_err(|error| reading::unreadable(&error))?;
    announce(address, settings, console)?;
    let options = ApiOptions {
        query_timeout: settings.sql.timeout,
        max_rows: settings.serve.max_rows,
        ..ApiOptions::default()
    };
    let store = store.clone();
    Ok(async move { api::serve(listener, Arc::new(warehouse), store, options, ended).await })
}

fn announce_nothing(settings: &Settings, console: &Console) -> Result<(), Failure> {
    if console.json {
        return console.json(&json!({
            "url": null,
            "warehouse": settings.warehouse.to_string(),
            "control": settings.control.to_string(),
        }));
    }
    let roles = settings.serve.roles;
    let what = match (roles.worker, roles.scheduler) {
        (true, true) => "working on the jobs, and handing in those of the schedules, of",
        (true, false) => "working on the jobs of",
        (false, _) => "handing in the jobs of the schedules of",
    };
    console.result(&format!("{what} {}   (Ctrl-C ends it)", settings.control))
}

fn announce(address: SocketAddr, settings: &Settings, console: &Console) -> Result<(), Failure> {
    let url = format!("http://{address}");
    if console.json {
        return console.json(&json!({
            "url": url,
            "warehouse": settings.warehouse.to_string(),
            "control": settings.control.to_string(),
        }));
    }
    console.result(&format!(
        "serving {} on {url}   (API: {url}/api/v1/openapi.json, Ctrl-C ends it)",
        settings.warehouse
    ))
}

/// Listens where the settings say.
///
/// Where nobody chose the port and it is taken, any free one will do.
async fn listen(settings: &ServeSettings) -> Result<(TcpListener, Option<String>), Failure> {
    let wanted = settings.listen;
    let error = match TcpListener::bind(wanted).await {
        Ok(listener) => return Ok((listener, None)),
        Err(error) => error,
    };
    if error.kind() == io::ErrorKind::AddrInUse && !settings.chosen {
        let free = SocketAddr::new(wanted.ip(), 0);
        if let Ok(listener) = TcpListener::bind(free).await {
            let warning = format!("warning: port {} is taken; using a free one", wanted.port());
            return Ok((listener, Some(warning)));
        }
    }
    Err(Failure::failed(
        format_args!("cannot listen on {wanted}: {error}"),
        match error.kind() {
            io::ErrorKind::AddrInUse => "choose another with --listen; port 0 takes a free one",
            io::ErrorKind::PermissionDenied => "ports below 1024 need more rights: choose another",
            _ => "is it an address of this machine?",
        },
    ))
}

fn no_address(error: &io::Error) -> Failure {
    Failure::failed(
        format_args!("the listening socket has no address: {error}"),
        "try another --listen",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Roles;

    fn settings(listen: SocketAddr, chosen: bool) -> ServeSettings {
        ServeSettings {
            listen,
            chosen,
            max_rows: 1,
            maintain: None,
            answers: 0,
            roles: Roles {
                api: true,
                worker: false,
                scheduler: false,
            },
            tasks: 1,
            grace: std::time::Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn a_taken_port_is_left_only_where_nobody_chose_it() {
        let free = SocketAddr::from(([127, 0, 0, 1], 0));
        let (holder, warning) = listen(&settings(free, true)).await.expect("a free port");
        assert_eq!(warning, None);
        let taken = holder.local_addr().expect("bound");

        let (other, warning) = listen(&settings(taken, false)).await.expect("another port");
        assert_ne!(other.local_addr().expect("bound").port(), taken.port());
        let port = taken.port();
        assert_eq!(
            warning,
            Some(format!("warning: port {port} is taken; using a free one"))
        );

        let failure = listen(&settings(taken, true))
            .await
            .expect_err("it was chosen");
        assert_eq!(failure.exit().code(), 1);
        let lines = failure.lines().expect("two lines");
        assert!(
            lines.contains("help:  choose another with --listen"),
            "{lines}"
        );
    }
}
