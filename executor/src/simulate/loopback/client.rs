//! A running simulator and a client of the plainest kind for it.

use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

use super::super::{RequestTruth, Simulator, SimulatorConfig, SimulatorTotals};
use crate::timer::monotonic_ns;

/// A quick server: TTFT 5 ms, ITL 2 ms, nothing for the prompt.
pub(super) fn quick(slots: u32) -> SimulatorConfig {
    let slots = NonZeroU32::new(slots).expect("a test has slots");
    let mut config = SimulatorConfig::new(slots);
    config.ttft = Duration::from_millis(5);
    config.itl = Duration::from_millis(2);
    config.prompt_token = Duration::ZERO;
    config
}

pub(super) fn quick_with(slots: u32, faults: &[&str]) -> SimulatorConfig {
    let mut config = quick(slots);
    let parse = |fault: &&str| fault.parse().expect(fault);
    config.faults = faults.iter().map(parse).collect();
    config
}

/// Fails a test that would hang. It is long, since it is no measurement.
async fn in_time<T>(what: impl Future<Output = T>) -> T {
    let most = Duration::from_secs(30);
    tokio::time::timeout(most, what)
        .await
        .expect("an answer within half a minute")
}

/// A simulator that runs in a task.
pub(super) struct Running {
    pub(super) addr: std::net::SocketAddr,
    model: String,
    stop: oneshot::Sender<()>,
    task: JoinHandle<SimulatorTotals>,
}

impl Running {
    pub(super) async fn start(config: SimulatorConfig) -> Self {
        let model = config.model.clone();
        let simulator = Simulator::bind(config, ([127, 0, 0, 1], 0).into())
            .await
            .expect("a free port");
        let addr = simulator.local_addr();
        let (stop, stopped) = oneshot::channel::<()>();
        let task = tokio::spawn(async move {
            let shutdown = async {
                stopped.await.expect("the test stops the server");
            };
            simulator.run(shutdown).await.expect("it ends well")
        });
        Self {
            addr,
            model,
            stop,
            task,
        }
    }

    pub(super) async fn connect(&self) -> Client {
        let tcp = TcpStream::connect(self.addr).await.expect("it listens");
        let (requests, connection) = handshake(TokioIo::new(tcp)).await.expect("HTTP");
        let task = tokio::spawn(connection);
        Client {
            requests,
            task,
            model: self.model.clone(),
        }
    }

    pub(super) async fn stop(self) -> SimulatorTotals {
        self.stop.send(()).expect("it runs");
        in_time(self.task).await.expect("no panic")
    }

    /// Waits until it ends by itself.
    pub(super) async fn ended(self) -> SimulatorTotals {
        in_time(self.task).await.expect("no panic")
    }

    /// The value of a metric without further labels.
    pub(super) async fn metric(&self, name: &str) -> f64 {
        let page = self.connect().await.get("/metrics").await.text().await;
        let line = page
            .lines()
            .find(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with('{'))
            })
            .expect(name);
        let value = line.rsplit(' ').next().expect("a value");
        value.parse().expect(line)
    }

    /// Asks again and again until a metric has this value.
    pub(super) async fn until_metric(&self, name: &str, value: f64) {
        in_time(async {
            while self.metric(name).await != value {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }
}

/// One connection.
pub(super) struct Client {
    requests: SendRequest<Full<Bytes>>,
    task: JoinHandle<hyper::Result<()>>,
    model: String,
}

impl Client {
    pub(super) async fn get(&mut self, path: &str) -> Answer {
        let request = Request::builder()
            .uri(path)
            .body(Full::default())
            .expect("a request");
        self.send(request).await.expect("an answer")
    }

    /// The request for a streamed reply of so many tokens, usage included.
    pub(super) fn call(&self, tokens: u32) -> Value {
        json!({
            "model": self.model, "max_tokens": tokens, "stream": true,
            "stream_options": {"include_usage": true},
            "messages": [{"role": "user", "content": "how deep may she lie"}],
        })
    }

    pub(super) async fn chat(&mut self, tokens: u32) -> hyper::Result<Answer> {
        let call = self.call(tokens);
        self.post(&call, &[]).await
    }

    pub(super) async fn post(
        &mut self,
        call: &Value,
        headers: &[(&str, &str)],
    ) -> hyper::Result<Answer> {
        let mut request = Request::builder()
            .method(Method::POST)
            .uri("/v1/chat/completions");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = Full::from(call.to_string());
        self.send(request.body(body).expect("a request")).await
    }

    async fn send(&mut self, request: Request<Full<Bytes>>) -> hyper::Result<Answer> {
        let response = in_time(self.requests.send_request(request)).await?;
        Ok(Answer { response })
    }

    /// Closes the connection at once, whatever is on its way.
    pub(super) async fn leave(self) {
        self.task.abort();
        let ended = self.task.await.expect_err("it was cut off");
        assert!(ended.is_cancelled());
    }
}

/// An answer whose head has come.
pub(super) struct Answer {
    response: Response<Incoming>,
}

/// What came, read by read.
pub(super) struct Received {
    /// The moment of each read, in nanoseconds of `CLOCK_MONOTONIC`, and what
    /// it brought.
    pub(super) reads: Vec<(i64, Bytes)>,
    /// How it broke off, if it did.
    pub(super) error: Option<hyper::Error>,
}

impl Answer {
    pub(super) fn status(&self) -> u16 {
        self.response.status().as_u16()
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.response.headers().get(name).expect(name);
        value.to_str().expect("text")
    }

    pub(super) async fn received(self) -> Received {
        let mut body = self.response.into_body();
        let mut received = Received {
            reads: vec![],
            error: None,
        };
        while let Some(frame) = in_time(body.frame()).await {
            match frame {
                Ok(frame) => {
                    let data = frame.into_data().expect("no trailers");
                    received.reads.push((monotonic_ns(), data));
                }
                Err(error) => received.error = Some(error),
            }
        }
        received
    }

    pub(super) async fn text(self) -> String {
        self.received().await.text()
    }

    pub(super) async fn json(self) -> Value {
        let text = self.text().await;
        serde_json::from_str(&text).expect(&text)
    }

    /// Waits for the next read.
    pub(super) async fn read(&mut self) -> Bytes {
        let frame = self.response.body_mut().frame().await.expect("more");
        let frame = frame.expect("no error");
        frame.into_data().expect("no trailers")
    }
}

impl Received {
    pub(super) fn bytes(&self) -> Vec<u8> {
        let reads: Vec<Bytes> = self.reads.iter().map(|(_, bytes)| bytes.clone()).collect();
        reads.concat()
    }

    /// All of it; there must have been no error.
    pub(super) fn text(self) -> String {
        assert!(self.error.is_none(), "{:?}", self.error);
        String::from_utf8(self.bytes()).expect("UTF-8")
    }

    /// The data of each event that came whole.
    pub(super) fn data(&self) -> Vec<String> {
        let bytes = self.bytes();
        let text = String::from_utf8_lossy(&bytes).replace("\r\n", "\n");
        let events = text.split_inclusive("\n\n");
        events
            .filter_map(|event| event.strip_suffix("\n\n"))
            .filter_map(|event| event.strip_prefix("data: "))
            .map(str::to_owned)
            .collect()
    }

    /// The chunks that are JSON.
    pub(super) fn chunks(&self) -> Vec<Value> {
        let data = self.data();
        data.iter()
            .filter_map(|data| serde_json::from_str(data).ok())
            .collect()
    }

    /// How many events carry content.
    pub(super) fn content_events(&self) -> usize {
        let chunks = self.chunks();
        chunks
            .iter()
            .filter(|chunk| {
                let content = &chunk["choices"][0]["delta"]["content"];
                content.as_str().is_some_and(|text| !text.is_empty())
            })
            .count()
    }
}

/// A truth log in a folder of its own, gone with this value.
pub(super) struct TruthFile {
    folder: TempDir,
}

impl TruthFile {
    pub(super) fn new() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self { folder }
    }

    pub(super) fn path(&self) -> PathBuf {
        self.folder.path().join("truth.jsonl")
    }

    pub(super) fn lines(&self) -> Vec<RequestTruth> {
        let text = std::fs::read_to_string(self.path()).expect("a truth log");
        text.lines()
            .map(|line| serde_json::from_str(line).expect(line))
            .collect()
    }
}
