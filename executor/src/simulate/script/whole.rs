//! A reply that is not streamed.

use bytes::Bytes;
use serde_json::{Value, json};

use super::super::event::Channel;
use super::super::fault::{Malformed, ReasoningField};
use super::super::plan::{Cut, ReplyPlan};
use super::super::truth::EventKind;
use super::super::wording::Wording;
use super::{Emission, Marks, ReplyTo, Step};

/// The one step of a reply that is sent when its last token is due.
///
/// Each token counts as a chunk for the faults that strike after some of them;
/// an error in the middle is a connection that breaks. The load is looked at
/// once, since nothing is sent in between.
pub(crate) fn whole_reply(reply: &ReplyTo<'_>, plan: &ReplyPlan, busy: u32) -> Step {
    let mut pace = reply.pace();
    let mut due_ns = 0;
    for token in 0..plan.tokens {
        if let Some((after, pause)) = plan.stall
            && after == token
        {
            pace.delay(pause);
        }
        due_ns = pace.next(|| busy);
        match plan.cut {
            Some((after, Cut::Abort(how))) if after == token => {
                return Step::Break { due_ns, how };
            }
            _ => {}
        }
    }
    let mut body = json(reply, plan).to_string().into_bytes();
    match plan.malformed {
        None => {}
        Some((_, Malformed::Json)) => body.truncate(body.len() / 2),
        Some((_, Malformed::Utf8)) => {
            let middle = body.len() / 2;
            body[middle] = 0xFF;
        }
        Some((_, Malformed::Line)) => body = b"this is no JSON\n".to_vec(),
    }
    Step::Send(Emission {
        due_ns,
        frame: Bytes::from(body).into(),
        marks: Marks::one(EventKind::Whole, plan.tokens),
        apart: false,
    })
}

fn json(to: &ReplyTo<'_>, plan: &ReplyPlan) -> Value {
    let wording = Wording::new(plan, to.ordinal);
    let mut message = json!({"role": "assistant", "content": null});
    let mut from = 0;
    while from < plan.tokens {
        let (channel, end) = wording.channel(from);
        let text = wording.text(from..end);
        match channel {
            Channel::Content => message["content"] = text.into(),
            Channel::Reasoning(ReasoningField::ReasoningContent) => {
                message["reasoning_content"] = text.into();
            }
            Channel::Reasoning(ReasoningField::Reasoning) => message["reasoning"] = text.into(),
            Channel::Tool => {
                // The text is escaped for JSON, and here it is not in JSON yet.
                let arguments = text.replace('\\', "");
                message["tool_calls"] = json!([{
                    "id": format!("call_{}", to.ordinal), "type": "function",
                    "function": {"name": "look_up", "arguments": arguments},
                }]);
            }
        }
        from = end;
    }
    let mut reply = json!({
        "id": format!("chatcmpl-{}", to.ordinal),
        "object": "chat.completion",
        "created": to.created_s,
        "model": to.config.model,
        "choices": [{"index": 0, "message": message, "finish_reason": plan.finish_reason}],
    });
    if plan.usage.is_some() {
        reply["usage"] = to.usage(plan, &wording).json();
    }
    reply
}
