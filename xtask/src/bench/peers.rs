//! What others measured and published, on machines that are not this one: shown beside our
//! figures, never compared with them by a bound.

use crate::table;

/// First-token error of published tools against a known truth of TTFT 50 ms and ITL 10 ms. Where a
/// tool reports its median TTFT alone, the error is that less the truth, which counts the server's
/// own lateness in; those rows say so.
pub(crate) fn render() -> String {
    let row = |client: &str, streams: &str, requests: &str, chunks: &str, error: &str| {
        [client, streams, requests, chunks, error].map(str::to_owned)
    };
    table::render(
        [
            "client (literature)",
            "streams",
            "requests/s",
            "chunks/s",
            "first-token error",
        ],
        &[
            row("published Rust client, 4 cores", "100", "-", "-", "3.5 ms"),
            row("published Rust client, 4 cores", "500", "-", "-", "19.9 ms"),
            row(
                "published Rust client, 4 cores",
                "1000",
                "-",
                "-",
                "28.1 ms",
            ),
            row("its Python ancestor, 4 cores", "100", "-", "-", "23 ms"),
            row("its Python ancestor, 4 cores", "500", "-", "-", "137 ms"),
            row("its Python ancestor, 4 cores", "1000", "-", "-", "294 ms"),
            row(
                "GuideLLM 0.8.1, 2 cores",
                "100 (held 75)",
                "100",
                "6700",
                "48 ms (median TTFT less 50)",
            ),
            row(
                "GuideLLM 0.8.1, 2 cores",
                "500 (held 126)",
                "100",
                "6700",
                "292 ms (median TTFT less 50)",
            ),
            row(
                "AIPerf 0.13, 2 cores",
                "100",
                "-",
                "-",
                "59 ms (median TTFT less 50)",
            ),
            row(
                "AIPerf 0.13, 2 cores",
                "500 (held 281)",
                "148",
                "9500",
                "140 ms (median TTFT less 50)",
            ),
            row(
                "C floor client, 2 cores",
                "100",
                "147",
                "9200",
                "0.19 ms, p99 0.69 ms",
            ),
            row(
                "C floor client, 2 cores",
                "500",
                "735",
                "46000",
                "0.22 ms, p99 3.6 ms",
            ),
            row(
                "C floor client, 2 cores",
                "1000",
                "1450",
                "90000",
                "3.2 ms, p99 82 ms",
            ),
            row(
                "C floor client, 2 cores",
                "2000",
                "1910",
                "112000",
                "27 ms, p99 755 ms",
            ),
            row(
                "C floor client, 2 cores",
                "3000",
                "2100",
                "124000",
                "46 ms, p99 1.0 s",
            ),
        ],
    )
}
