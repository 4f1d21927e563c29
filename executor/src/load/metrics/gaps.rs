//! Times between the chunks of one reply.

use super::super::reply::ChunkMark;
use super::super::trace::RequestTrace;

/// Inter-token latency by chunks: the gap before each chunk that bears a token, the first left
/// out, ns, in order. Pooled over requests it makes the percentiles of `itl_ns`.
///
/// Empty if fewer than two such chunks came. Chunks that one read brought share its time: the
/// gaps between them are 0 (`bundled_chunks` says how many such chunks there were). A chunk of
/// several tokens makes one gap; [`token_gaps`] spreads it.
///
/// It equals the ITL of inference-perf, and AIPerf's inter-chunk latency. That of `vllm bench
/// serve` is [`all_chunk_gaps`].
pub fn chunk_gaps(trace: &RequestTrace) -> impl Iterator<Item = i64> + '_ {
    gaps(trace.token_chunks())
}

/// The gap before each chunk that has a choice, be it empty, the first left out, ns, in order.
///
/// It equals the ITL of `vllm bench serve`: the gap from a role-only chunk to the first token is
/// in it, and so is the one to the chunk that carries the finish reason.
pub fn all_chunk_gaps(trace: &RequestTrace) -> impl Iterator<Item = i64> + '_ {
    gaps(trace.reply.chunks.iter())
}

fn gaps<'a>(chunks: impl Iterator<Item = &'a ChunkMark>) -> impl Iterator<Item = i64> {
    let mut before = None;
    chunks.filter_map(move |chunk| Some(chunk.at_ns - before.replace(chunk.at_ns)?))
}

/// Inter-token latency by tokens (`itl_token`): as [`chunk_gaps`], but the gap before a chunk of
/// k tokens counts as k gaps of a k-th each, ns, in order.
///
/// Each share is rounded so that the shares sum up to the gap. Tokens of the first chunk make
/// none. A chunk of no token, which the server counted as 0, adds its gap to the next.
/// `None` if the tokens of any chunk are unknown, or if no token came.
///
/// No tool of those named reports it; it is what their ITL would be if each token came alone.
pub fn token_gaps(trace: &RequestTrace) -> Option<Vec<i64>> {
    let mut before = trace.first_token_ns()?;
    let mut shares = Vec::new();
    for (index, chunk) in trace.token_chunks().enumerate() {
        let tokens = i64::from(chunk.tokens?);
        if index == 0 || tokens == 0 {
            continue;
        }
        let gap = chunk.at_ns - before;
        before = chunk.at_ns;
        let (share, left) = (gap.div_euclid(tokens), gap.rem_euclid(tokens));
        shares.extend((0..tokens).map(|token| share + i64::from(token < left)));
    }
    Some(shares)
}

/// The lists of a row of `raw.chunks`: one element per chunk that bears a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChunkTimes {
    /// Arrival, ns: the first since the send, each later one since the chunk before it, which
    /// are the gaps of [`chunk_gaps`].
    pub at_ns: Vec<i64>,
    /// Tokens of each chunk; `None` where those of any are unknown.
    pub tokens: Option<Vec<i64>>,
}

/// The chunk times of a request; `None` if no chunk with a token came, which makes no row.
///
/// Chunks without a token are left out: what they say of the first chunk of any kind is in
/// `ttft_any_ns`.
pub fn chunk_times(trace: &RequestTrace) -> Option<ChunkTimes> {
    let first = trace.first_token_ns()? - trace.sent_ns;
    let tokens = trace
        .token_chunks()
        .map(|chunk| chunk.tokens.map(i64::from));
    Some(ChunkTimes {
        at_ns: std::iter::once(first).chain(chunk_gaps(trace)).collect(),
        tokens: tokens.collect(),
    })
}
