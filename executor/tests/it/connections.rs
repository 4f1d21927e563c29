//! Connections that end in a way of their own, and whose time that is.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use plimsoll_ingest::RequestRow;

use crate::world::World;

const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
const TOKEN: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n\
                     data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"},\
                     \"finish_reason\":\"stop\"}]}\n\n";

/// A server that says one token in a body without a length, and then goes on as it is told to.
fn server_that_goes_on(
    then: impl Fn(&mut TcpStream) -> io::Result<()> + Send + Copy + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("it is bound");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("loopback works");
            std::thread::spawn(move || {
                let mut request = [0u8; 65_536];
                let read = stream.read(&mut request);
                // A client may leave at any time.
                if read.is_err() || request.starts_with(b"GET ") {
                    stream.write_all(NOT_FOUND.as_bytes()).ok();
                } else if stream.write_all(TOKEN.as_bytes()).is_ok() {
                    then(&mut stream).ok();
                }
            });
        }
    });
    address
}

/// Waits for the client to leave, for so long.
fn linger(stream: &mut TcpStream, time: Duration) -> bool {
    stream.set_read_timeout(Some(time)).is_ok() && stream.read(&mut [0u8; 1]).is_ok()
}

async fn steady_requests(address: SocketAddr) -> Vec<RequestRow> {
    let world = World::new();
    let set = ["concurrency=[1]", "requests=[4]"];
    world
        .run(world.job(address, "smoke", &set))
        .await
        .expect("a run");
    let mut requests: Vec<RequestRow> = world.rows().await;
    requests.retain(|row| row.phase == "steady");
    requests.sort_unstable_by_key(|row| row.request_id);
    assert_eq!(requests.len(), 4);
    requests
}

/// The reply is there with its last byte; the slot is free when the connection ends. What lies
/// between is no latency of the reply, and no lag of the generator.
#[tokio::test]
async fn a_server_that_closes_late_keeps_the_slot_and_not_the_reply() {
    let address = server_that_goes_on(|stream| {
        linger(stream, Duration::from_millis(200));
        Ok(())
    });
    for pair in steady_requests(address).await.windows(2) {
        let [one, next] = pair else {
            unreachable!("windows of two")
        };
        assert_eq!(one.status, "ok", "{one:?}");
        assert!(one.e2e_ns < 150_000_000, "{one:?}");
        assert!(next.scheduled_ns - one.sent_ns >= 200_000_000, "{next:?}");
        assert!(next.queue_ns < 150_000_000, "{next:?}");
    }
}

/// After `[DONE]` the body has a moment to end; comments do not make it longer.
#[tokio::test]
async fn a_server_that_comments_without_end_is_left_after_its_last_mark() {
    let address = server_that_goes_on(|stream| {
        stream.write_all(b"data: [DONE]\n\n")?;
        while !linger(stream, Duration::from_millis(50)) {
            stream.write_all(b": still here\n\n")?;
        }
        Ok(())
    });
    for request in steady_requests(address).await {
        assert_eq!(request.status, "ok", "{request:?}");
        assert!(request.e2e_ns < 150_000_000, "{request:?}");
        assert!(request.queue_ns < 150_000_000, "{request:?}");
    }
}
