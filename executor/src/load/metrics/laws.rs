//! What holds for every request.

use proptest::prelude::*;

use super::super::chat::DeltaKind;
use super::super::trace::RequestTrace;
use super::paper::trace;
use super::*;

fn kind() -> impl Strategy<Value = DeltaKind> {
    prop_oneof![
        1 => Just(DeltaKind::RoleOnly),
        1 => Just(DeltaKind::Empty),
        6 => Just(DeltaKind::Content),
        2 => Just(DeltaKind::Reasoning),
        2 => Just(DeltaKind::ToolCall),
    ]
}

prop_compose! {
    /// A request whose chunks come in order, with or without known tokens.
    fn traces()(
        chunks in prop::collection::vec(
            (0_i64..2_000_000_000, kind(), prop::option::weighted(0.9, 1_u16..5)),
            0..60,
        ),
        output_tokens in prop::option::of(0_i64..200),
        scheduled_ns in 0_i64..1_000_000_000,
        wait in 0_i64..1_000_000_000,
        rest in 0_i64..1_000_000_000,
    ) -> RequestTrace {
        let mut request = trace(&[], output_tokens);
        request.scheduled_ns = scheduled_ns;
        request.sent_ns = scheduled_ns + wait;
        let mut at_ns = request.sent_ns;
        let chunks: Vec<_> = chunks
            .into_iter()
            .map(|(gap, kind, tokens)| {
                at_ns += gap;
                (at_ns, kind, tokens)
            })
            .collect();
        request.reply.chunks = trace(&chunks, None).reply.chunks;
        request.done_ns = at_ns + rest;
        request
    }
}

/// The same request at another time of the run.
fn shifted(request: &RequestTrace, by: i64) -> RequestTrace {
    let mut later = request.clone();
    later.scheduled_ns += by;
    later.sent_ns += by;
    later.done_ns += by;
    for chunk in &mut later.reply.chunks {
        chunk.at_ns += by;
    }
    later
}

proptest! {
    #[test]
    fn latencies_are_ordered(request in traces()) {
        let since = Since::Scheduled;
        let end = Some(e2e(&request, since));
        let order = [
            Some(queue(&request)),
            ttft_any(&request, since),
            ttft(&request, since),
            e2e_last_token(&request, since),
            e2e_last_chunk(&request, since),
            end,
        ];
        let known: Vec<i64> = order.into_iter().flatten().collect();
        prop_assert!(known.is_sorted(), "{order:?}");
        prop_assert!(ttft(&request, since) <= ttft_content(&request, since).or(end));
    }

    #[test]
    fn the_schedule_adds_the_queue_and_nothing_else(request in traces()) {
        let (scheduled, sent, queue) = (Since::Scheduled, Since::Sent, queue(&request));
        let plus_queue = |latency: Option<i64>| latency.map(|latency| latency + queue);
        prop_assert_eq!(ttft(&request, scheduled), plus_queue(ttft(&request, sent)));
        prop_assert_eq!(ttft_any(&request, scheduled), plus_queue(ttft_any(&request, sent)));
        prop_assert_eq!(e2e(&request, scheduled), e2e(&request, sent) + queue);
    }

    #[test]
    fn when_in_the_run_it_was_does_not_matter(request in traces(), by in -1_i64 << 40..1 << 40) {
        let later = shifted(&request, by);
        prop_assert_eq!(RequestMetrics::of(&later), RequestMetrics::of(&request));
        prop_assert_eq!(chunk_times(&later), chunk_times(&request));
    }

    #[test]
    fn the_parts_make_the_whole(request in traces()) {
        let between = request.last_token_ns().zip(request.first_token_ns());
        let between = between.map(|(last, first)| last - first);
        prop_assert_eq!(chunk_gaps(&request).sum::<i64>(), between.unwrap_or(0));
        if let Some(shares) = token_gaps(&request) {
            prop_assert_eq!(Some(shares.iter().sum::<i64>()), between);
            let tokens = request.token_chunks().skip(1).map(|chunk| chunk.tokens.unwrap_or(0));
            prop_assert_eq!(shares.len(), tokens.map(usize::from).sum::<usize>());
        }
        if let Some(times) = chunk_times(&request) {
            let end = request.sent_ns + times.at_ns.iter().sum::<i64>();
            prop_assert_eq!(Some(end), request.last_token_ns());
        }
        if let (Some(tpot), Some(tokens)) = (tpot(&request), request.reply.output_tokens) {
            let first = request.token_chunks().next().and_then(|chunk| chunk.tokens);
            let later = tokens - first.map_or(1, i64::from);
            let error = tpot * later - between.expect("there are tokens");
            prop_assert!(error.abs() <= later / 2);
        }
    }
}
