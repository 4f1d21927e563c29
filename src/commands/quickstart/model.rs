//! A simulated model inside this process, on a thread and a runtime of its own.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use plimsoll_executor::simulate::{Simulator, SimulatorConfig, SimulatorError};
use tokio::sync::oneshot;

use super::super::runtime;
use crate::failure::{Failure, chain};

/// Requests that the model serves at once.
const SLOTS: NonZeroU32 = NonZeroU32::new(8).expect("eight is not zero");

/// A model server that ends with [`SimulatedModel::end`], or with the process.
#[derive(Debug)]
pub(super) struct SimulatedModel {
    config: SimulatorConfig,
    address: SocketAddr,
    end: oneshot::Sender<()>,
    thread: JoinHandle<Result<(), Failure>>,
}

impl SimulatedModel {
    /// Starts it on a free port of the loopback address.
    ///
    /// # Errors
    /// The system gives no port, timer or thread.
    pub(super) fn start() -> Result<Self, Failure> {
        let config = SimulatorConfig::new(SLOTS);
        let (end, ended) = oneshot::channel();
        let (tell_start, started) = mpsc::sync_channel(1);
        let its_config = config.clone();
        let thread = thread::Builder::new()
            .name("simulated-model".to_owned())
            .spawn(move || serve(its_config, &tell_start, ended))
            .map_err(|error| no_model(&error))?;
        match started.recv() {
            Ok(address) => Ok(Self {
                config,
                address,
                end,
                thread,
            }),
            // It ended before it listened.
            Err(_) => Err(joined(thread)
                .err()
                .unwrap_or_else(|| no_model(&"it ended at once"))),
        }
    }

    /// Where it listens.
    pub(super) fn url(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    /// What requests call it.
    pub(super) fn name(&self) -> &str {
        &self.config.model
    }

    /// What it is, in a few words.
    pub(super) fn describe(&self) -> String {
        let SimulatorConfig {
            slots, ttft, itl, ..
        } = &self.config;
        format!(
            "{slots} slots, TTFT {} ms, ITL {} ms",
            ttft.as_millis(),
            itl.as_millis()
        )
    }

    /// Ends it.
    ///
    /// # Errors
    /// It failed on the way.
    pub(super) fn end(self) -> Result<(), Failure> {
        // Where it has ended already there is nobody to tell.
        self.end.send(()).ok();
        joined(self.thread)
    }
}

fn serve(
    config: SimulatorConfig,
    tell_start: &mpsc::SyncSender<SocketAddr>,
    ended: oneshot::Receiver<()>,
) -> Result<(), Failure> {
    runtime::waiting()?.block_on(async {
        let failed = |error: SimulatorError| no_model(&chain(&error));
        let anywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let simulator = Simulator::bind(config, anywhere).await.map_err(failed)?;
        if tell_start.send(simulator.local_addr()).is_err() {
            return Ok(());
        }
        // A sender that is dropped ends it as well.
        simulator
            .run(async { drop(ended.await) })
            .await
            .map_err(failed)?;
        Ok(())
    })
}

fn joined(thread: JoinHandle<Result<(), Failure>>) -> Result<(), Failure> {
    thread
        .join()
        .unwrap_or_else(|_| Err(no_model(&"its thread panicked")))
}

fn no_model(reason: &dyn std::fmt::Display) -> Failure {
    Failure::failed(
        format_args!("the simulated model cannot run: {reason}"),
        "is the limit of open files or threads reached? see `ulimit -a`",
    )
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;

    use super::*;

    #[test]
    fn it_listens_from_start_to_end() {
        let model = SimulatedModel::start().expect("started");
        let address = model.address;
        assert_eq!(model.url(), format!("http://{address}/v1"));
        assert_eq!(model.describe(), "8 slots, TTFT 50 ms, ITL 10 ms");
        TcpStream::connect(address).expect("it listens");
        model.end().expect("ended");
        TcpStream::connect(address).expect_err("it listens no more");
    }
}
