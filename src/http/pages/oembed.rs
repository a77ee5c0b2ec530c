//! oEmbed (oembed.com): what a page needs to show a broadcast whose address somebody has pasted.

use percent_encoding::percent_decode_str;
use serde::Serialize;
use warp::reply::Response;

use super::{
    super::{problem::Problem, request::HttpRequest, wire::json},
    escape::escape,
    head::{CARD, Site, Size},
    theme::Theme,
};
use crate::plan::Name;

/// Size of a frame, in pixels, if the page does not limit it.
const FRAME: Size = Size {
    width: 960,
    height: 540,
};

#[derive(Serialize, utoipa::ToSchema)]
#[schema(as = OEmbed)]
struct Embed<'a> {
    version: &'a str,
    r#type: &'a str,
    provider_name: &'a str,
    provider_url: &'a str,
    title: &'a str,
    width: u32,
    height: u32,
    html: String,
    thumbnail_url: String,
    thumbnail_width: u32,
    thumbnail_height: u32,
}

/// Embed a broadcast
///
/// What another site needs to show the broadcast whose page is at `url` (oEmbed). Says nothing about whether the
/// broadcast exists.
#[utoipa::path(
    get,
    path = "/oembed",
    operation_id = "oembed",
    tag = "pages",
    params(
        ("url" = String, Query, description = "The address of the page that shows the broadcast"),
        ("format" = Option<String>, Query, description = "Only `json`"),
        ("maxwidth" = Option<u32>, Query, description = "In pixels"),
        ("maxheight" = Option<u32>, Query, description = "In pixels")
    ),
    responses(
        (status = 200, body = Embed<'static>),
        (status = 404, description = "Not the address of a broadcast's page"),
        (status = 501, description = "A format other than JSON")
    )
)]
pub(in crate::http) fn answer(
    request: &HttpRequest,
    site: &Site<'_>,
    theme: &Theme,
) -> Result<Response, Problem> {
    let url = request.parameter("url").unwrap_or_default();
    let url = percent_decode_str(url).decode_utf8_lossy();
    let name = name_in(&url, site).ok_or_else(|| Problem::not_found("broadcast"))?;
    if request
        .parameter("format")
        .is_some_and(|format| format != "json")
    {
        return Err(Problem::unimplemented("only format=json is available"));
    }
    let frame = fitting(limit(request, "maxwidth"), limit(request, "maxheight"));
    let Size { width, height } = frame;
    let source = escape(&format!("{}/watch/{name}?embed=1", site.0));
    json(&Embed {
        version: "1.0",
        r#type: "video",
        provider_name: &theme.name,
        provider_url: site.0,
        title: name.as_str(),
        width,
        height,
        html: format!(
            "<iframe src=\"{source}\" width=\"{width}\" height=\"{height}\" title=\"{name}\" \
             allow=\"autoplay; fullscreen; picture-in-picture\"></iframe>"
        ),
        thumbnail_url: format!("{}/card.png", site.0),
        thumbnail_width: CARD.width,
        thumbnail_height: CARD.height,
    })
}

fn limit(request: &HttpRequest, name: &str) -> Option<u32> {
    request.parameter(name)?.parse().ok()
}

/// The broadcast whose page this is.
fn name_in(url: &str, site: &Site<'_>) -> Option<Name> {
    let path = url.strip_prefix(site.0)?.strip_prefix("/watch/")?;
    let name = path.split(['?', '#']).next()?;
    Name::new(name.strip_suffix('/').unwrap_or(name))
}

/// The largest frame of our shape within these limits.
fn fitting(width: Option<u32>, height: Option<u32>) -> Size {
    let width = width.unwrap_or(FRAME.width).min(FRAME.width);
    let height = height.unwrap_or(FRAME.height).min(FRAME.height);
    Size {
        width: width.min(height * FRAME.width / FRAME.height),
        height: height.min(width * FRAME.height / FRAME.width),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_this_server() {
        let site = Site("https://live.example/tv");
        for (url, name) in [
            ("https://live.example/tv/watch/demo", Some("demo")),
            ("https://live.example/tv/watch/demo/?embed=1", Some("demo")),
            ("https://live.example/tv/watch/", None),
            ("https://live.example/watch/demo", None),
            ("https://other.example/tv/watch/demo", None),
            ("", None),
        ] {
            assert_eq!(
                name_in(url, &site).as_ref().map(Name::as_str),
                name,
                "{url}"
            );
        }
    }

    #[test]
    fn frames_keep_their_shape() {
        for (width, height, expected) in [
            (None, None, (960, 540)),
            (Some(320), None, (320, 180)),
            (None, Some(90), (160, 90)),
            (Some(4000), Some(4000), (960, 540)),
        ] {
            let size = fitting(width, height);
            assert_eq!((size.width, size.height), expected);
        }
    }
}
