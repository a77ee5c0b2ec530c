//! WHIP and WHEP in the API's document: one handler serves both.

use utoipa::{
    PartialSchema as _,
    openapi::{
        ContentBuilder, HeaderBuilder, HttpMethod, PathItem, Paths, Required, ResponseBuilder,
        path::{
            Operation, OperationBuilder, Parameter, ParameterBuilder, ParameterIn, PathItemBuilder,
        },
        request_body::RequestBodyBuilder,
    },
};

use super::refusal;
use crate::{
    http::headers::{FRAGMENT_TYPE, JSON_TYPE, OFFER_TYPE},
    plan::Name,
};

/// The media type of server-sent events.
const EVENTS_TYPE: &str = "text/event-stream";

/// Adds the endpoints, the sessions, and what hangs below the sessions of viewers.
pub(super) fn add_to(paths: &mut Paths) {
    for protocol in ["whip", "whep"] {
        let named = format!("/{protocol}/{{name}}");
        let session = format!("/{protocol}/s/{{id}}");
        for (path, item) in [
            (format!("/{protocol}"), endpoint(protocol, false)),
            (named, endpoint(protocol, true)),
            (session, self::session(protocol)),
        ] {
            paths.paths.insert(path, item);
        }
    }
    for (path, item) in [
        ("/whep/s/{id}/layer", layer()),
        ("/whep/s/{id}/events", events()),
        ("/whep/s/{id}/events/{stream}", stream()),
    ] {
        paths.paths.insert(path.to_owned(), item);
    }
}

fn endpoint(protocol: &str, is_named: bool) -> PathItem {
    let (verb, found) = match protocol {
        "whip" => ("Publish", "204"),
        _ => ("Watch", "200"),
    };
    let suffix = if is_named { "" } else { "_by_token" };
    let discovered = OperationBuilder::new().summary(Some("Check whether this is an endpoint"));
    let discovered = discovered.response(found, ResponseBuilder::new().description("It is"));
    let discovered = finish(discovered, protocol, &format!("find_{protocol}{suffix}"));
    let created = ResponseBuilder::new()
        .description("The SDP answer")
        .header("Location", text_header("The session's URL, a secret"))
        .header("ETag", text_header("Identifies the ICE session"))
        .content(OFFER_TYPE, text());
    let elsewhere = ResponseBuilder::new()
        .description("Another server takes new sessions")
        .header("Location", text_header("Where"));
    let mut begin = OperationBuilder::new()
        .summary(Some(verb))
        .description(Some("Send an SDP offer; the answer is the server's."))
        .request_body(Some(body(OFFER_TYPE)))
        .response("201", created)
        .response("307", elsewhere)
        .response(
            "404",
            refusal("No such rendition, or, with `http.missing_is_404`, no publisher"),
        )
        .response("409", refusal("The name is taken, or nobody publishes"))
        .response("422", refusal("Nothing in the offer can be used"));
    let name = Name::schema();
    if !is_named {
        let parameter = parameter(
            "broadcast",
            ParameterIn::Query,
            "The broadcast, unless the token implies it",
        );
        begin = begin.parameter(parameter.schema(Some(name.clone())));
    }
    if protocol == "whep" {
        let parameter = parameter(
            "rendition",
            ParameterIn::Query,
            "The rendition to start with",
        );
        begin = begin.parameter(parameter.schema(Some(String::schema())));
    }
    let begin = finish(begin, protocol, &format!("{}{suffix}", verb.to_lowercase()));
    let mut item = PathItemBuilder::new()
        .operation(HttpMethod::Get, discovered)
        .operation(HttpMethod::Post, begin);
    if is_named {
        let parameter = parameter("name", ParameterIn::Path, "The broadcast").schema(Some(name));
        item = item.parameters(Some([parameter.build()]));
    }
    item.build()
}

fn session(protocol: &str) -> PathItem {
    let mut found = ResponseBuilder::new().description("It does");
    if protocol == "whep" {
        let state = text_header("The state of its broadcast");
        found = found.header("Broadcast-State", state);
    }
    let exists = OperationBuilder::new()
        .summary(Some("Check whether the session exists"))
        .response("204", found);
    let restarted = ResponseBuilder::new()
        .description("ICE has restarted: the server's fragment")
        .header("ETag", text_header("Identifies the new ICE session"))
        .content(FRAGMENT_TYPE, text());
    let change = OperationBuilder::new()
        .summary(Some("Trickle ICE, or restart it"))
        .parameter(
            parameter(
                "If-Match",
                ParameterIn::Header,
                "The session's entity tag, or `*`",
            )
            .schema(Some(String::schema())),
        )
        .request_body(Some(body(FRAGMENT_TYPE)))
        .response("200", restarted)
        .response("204", ResponseBuilder::new().description("Taken"))
        .response("412", refusal("`If-Match` is wrong"))
        .response("422", refusal("The fragment does not fit the session"))
        .response("428", refusal("`If-Match` is missing"));
    let end = OperationBuilder::new()
        .summary(Some("End the session"))
        .response(
            "200",
            ResponseBuilder::new().description("The session has ended"),
        );
    let id = |verb: &str| format!("{verb}_{protocol}_session");
    below_session()
        .operation(HttpMethod::Get, finish(exists, protocol, &id("find")))
        .operation(HttpMethod::Patch, finish(change, protocol, &id("change")))
        .operation(HttpMethod::Delete, finish(end, protocol, &id("end")))
        .build()
}

fn layer() -> PathItem {
    let done = || ResponseBuilder::new().description("Done");
    let choose = OperationBuilder::new()
        .summary(Some("Choose a simulcast layer"))
        .description(Some(
            "`{\"mediaId\": \"0\", \"rid\": \"h\"}`; without `rid`, the server chooses.",
        ))
        .request_body(Some(body(JSON_TYPE)))
        .response("200", done())
        .response("422", refusal("There is no such layer"));
    let leave = OperationBuilder::new()
        .summary(Some("Let the server choose the layer"))
        .response("200", done());
    below_session()
        .operation(HttpMethod::Post, finish(choose, "whep", "choose_layer"))
        .operation(HttpMethod::Delete, finish(leave, "whep", "leave_layer"))
        .build()
}

fn events() -> PathItem {
    let made = ResponseBuilder::new()
        .description("Made")
        .header("Location", text_header("The stream's URL"));
    let select = OperationBuilder::new()
        .summary(Some("Create a stream of selected events"))
        .description(Some("A JSON array of their names."))
        .request_body(Some(body(JSON_TYPE)))
        .response("201", made);
    below_session()
        .operation(HttpMethod::Get, follow("follow_session"))
        .operation(HttpMethod::Post, finish(select, "whep", "select_events"))
        .build()
}

fn stream() -> PathItem {
    let forget = OperationBuilder::new()
        .summary(Some("Delete the stream"))
        .response("200", ResponseBuilder::new().description("Forgotten"));
    let number = parameter("stream", ParameterIn::Path, "From `Location`");
    let number = number.schema(Some(String::schema())).build();
    below_session()
        .parameters(Some([id(), number]))
        .operation(HttpMethod::Get, follow("follow_stream"))
        .operation(HttpMethod::Delete, finish(forget, "whep", "forget_stream"))
        .build()
}

fn follow(operation_id: &str) -> Operation {
    let events = ResponseBuilder::new()
        .description("Server-sent events")
        .content(EVENTS_TYPE, text());
    let follow = OperationBuilder::new()
        .summary(Some("Follow the session's broadcast"))
        .response("200", events);
    finish(follow, "whep", operation_id)
}

fn below_session() -> PathItemBuilder {
    PathItemBuilder::new().parameters(Some([id()]))
}

/// The secret in a session's URL.
fn id() -> Parameter {
    parameter("id", ParameterIn::Path, "From `Location`")
        .schema(Some(String::schema()))
        .build()
}

fn finish(operation: OperationBuilder, tag: &str, id: &str) -> Operation {
    operation.tag(tag).operation_id(Some(id)).build()
}

fn parameter(name: &str, place: ParameterIn, description: &str) -> ParameterBuilder {
    let required = if place == ParameterIn::Path {
        Required::True
    } else {
        Required::False
    };
    ParameterBuilder::new()
        .name(name)
        .parameter_in(place)
        .required(required)
        .description(Some(description))
}

fn body(kind: &str) -> utoipa::openapi::request_body::RequestBody {
    RequestBodyBuilder::new()
        .content(kind, text())
        .required(Some(Required::True))
        .build()
}

fn text() -> utoipa::openapi::Content {
    ContentBuilder::new().schema(Some(String::schema())).build()
}

fn text_header(description: &str) -> utoipa::openapi::Header {
    HeaderBuilder::new()
        .schema(Some(String::schema()))
        .description(Some(description))
        .build()
}
