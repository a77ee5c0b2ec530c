//! Properties that may be changed while a pipeline runs.
//!
//! A file declares them in comments, one per line, by the name of the element:
//!
//! ```text
//! # adjustable: encoder.bitrate (100..20000) kbit/s
//! # adjustable: title.text (0..80) characters
//! ```
//!
//! The range limits the number, or the number of characters of a text.

use gst::prelude::*;
use gstreamer as gst;
use serde::{Deserialize, Serialize};
use serde_json as json;

use crate::pipeline::Error;

/// Begins a declaration.
const MARK: &str = "adjustable:";

/// A property that a file declares adjustable.
#[derive(Clone, Debug, PartialEq)]
pub struct Adjustable {
    /// The element's name in the text.
    pub element: String,
    /// The property's name.
    pub property: String,
    /// The least value, or number of characters.
    pub least: f64,
    /// The largest value, or number of characters.
    pub most: f64,
    /// The unit, as the file writes it.
    pub unit: String,
    /// The line of the declaration, from 1.
    pub line: usize,
}

/// An adjustable property and its current value.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, utoipa::ToSchema)]
pub struct Property {
    /// `element.property`.
    pub name: String,
    /// A number, a text, or true or false.
    pub value: json::Value,
    /// The least value, or number of characters.
    pub least: f64,
    /// The largest value, or number of characters.
    pub most: f64,
    /// The unit, as the file writes it.
    pub unit: String,
}

/// The declarations of a file's text.
///
/// # Errors
/// [`Error::Text`] with the line of a declaration that cannot be read.
pub(crate) fn declared(text: &str) -> Result<Vec<Adjustable>, Error> {
    let comments = text.lines().zip(1..).filter_map(|(line, number)| {
        let comment = line.trim_start().strip_prefix('#')?.trim_start();
        Some((comment.strip_prefix(MARK)?.trim(), number))
    });
    comments
        .map(|(text, line)| {
            read(text, line).ok_or_else(|| {
                Error::Text(format!(
                    "line {line}: not `{MARK} element.property (least..most) unit`: {text}"
                ))
            })
        })
        .collect()
}

fn read(text: &str, line: usize) -> Option<Adjustable> {
    let (name, rest) = text.split_once('(')?;
    let (range, unit) = rest.split_once(')')?;
    let (least, most) = range.split_once("..")?;
    let (element, property) = name.trim().split_once('.')?;
    let (least, most) = (least.trim().parse().ok()?, most.trim().parse().ok()?);
    let declared = Adjustable {
        element: element.to_owned(),
        property: property.to_owned(),
        least,
        most,
        unit: unit.trim().to_owned(),
        line,
    };
    let bounded = f64::is_finite(least) && f64::is_finite(most) && least <= most;
    (bounded && !element.is_empty() && !property.is_empty()).then_some(declared)
}

impl Adjustable {
    /// `element.property`.
    pub fn name(&self) -> String {
        format!("{}.{}", self.element, self.property)
    }

    /// The element in a pipeline and the new value of its property.
    ///
    /// # Errors
    /// [`Error::Text`] says what is wrong.
    pub(super) fn check(
        &self,
        pipeline: &gst::Pipeline,
        text: &str,
    ) -> Result<(gst::Element, glib::Value), Error> {
        let (element, spec) = self.find(pipeline)?;
        let value = self
            .value(&spec, text)
            .map_err(|why| Error::Text(format!("{} cannot be {text:?}: {why}", self.name())))?;
        Ok((element, value))
    }

    /// The property's current value in a pipeline.
    ///
    /// # Errors
    /// [`Error::Text`] if there is no such property.
    pub(super) fn read(&self, pipeline: &gst::Pipeline) -> Result<Property, Error> {
        let (element, spec) = self.find(pipeline)?;
        let value = element.property_value(&self.property);
        let value = if let Ok(text) = value.get::<Option<String>>() {
            json::Value::String(text.unwrap_or_default())
        } else if let Ok(truth) = value.get::<bool>() {
            json::Value::Bool(truth)
        } else if let Some((_, choice)) = glib::EnumValue::from_value(&value) {
            json::Value::String(choice.nick().to_owned())
        } else if let Some((_, set)) = glib::FlagsValue::from_value(&value) {
            let nicks: Vec<_> = set.iter().map(|flag| flag.nick()).collect();
            json::Value::String(nicks.join("+"))
        } else {
            let text = value.serialize().map(String::from).unwrap_or_default();
            let number = bounds(&spec).and_then(|_| text.parse().ok());
            number.map_or(json::Value::String(text), json::Value::Number)
        };
        Ok(Property {
            name: self.name(),
            value,
            least: self.least,
            most: self.most,
            unit: self.unit.clone(),
        })
    }

    /// The element and the property's specification.
    pub(crate) fn find(
        &self,
        pipeline: &gst::Pipeline,
    ) -> Result<(gst::Element, glib::ParamSpec), Error> {
        let element = pipeline.by_name(&self.element);
        let element =
            element.ok_or_else(|| Error::Text(format!("no element is named {}", self.element)))?;
        let spec = element.find_property(&self.property);
        let spec = spec.filter(|spec| spec.flags().contains(glib::ParamFlags::WRITABLE));
        let spec = spec.ok_or_else(|| {
            Error::Text(format!(
                "{} has no property {} to set",
                self.element, self.property
            ))
        })?;
        Ok((element, spec))
    }

    fn value(&self, spec: &glib::ParamSpec, text: &str) -> Result<glib::Value, String> {
        let kind = spec.value_type();
        let size = if kind == glib::Type::STRING {
            if text.chars().any(char::is_control) {
                return Err("it contains a control character".to_owned());
            }
            Some(f64::from(
                u32::try_from(text.chars().count()).unwrap_or(u32::MAX),
            ))
        } else if bounds(spec).is_some() {
            Some(
                text.trim()
                    .parse::<f64>()
                    .map_err(|_| "it is not a number".to_owned())?,
            )
        } else {
            None
        };
        let (mut least, mut most) = (self.least, self.most);
        if let Some((lower, upper)) = bounds(spec) {
            (least, most) = (least.max(lower), most.min(upper));
        }
        if size.is_some_and(|size| !(least..=most).contains(&size)) {
            return Err(format!("the range is {least} to {most} {}", self.unit)
                .trim()
                .to_owned());
        }
        if kind == glib::Type::STRING {
            return Ok(text.to_value());
        }
        glib::Value::deserialize_with_pspec(text.trim(), spec)
            .map_err(|_| format!("it is not a {}", kind.name()))
    }
}

/// The range that the element itself allows; `None` if the property is not a number.
#[expect(clippy::cast_precision_loss, reason = "limits need no precision")]
fn bounds(spec: &glib::ParamSpec) -> Option<(f64, f64)> {
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt>() {
        return Some((spec.minimum().into(), spec.maximum().into()));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt>() {
        return Some((spec.minimum().into(), spec.maximum().into()));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecInt64>() {
        return Some((spec.minimum() as f64, spec.maximum() as f64));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecUInt64>() {
        return Some((spec.minimum() as f64, spec.maximum() as f64));
    }
    if let Some(spec) = spec.downcast_ref::<glib::ParamSpecFloat>() {
        return Some((spec.minimum().into(), spec.maximum().into()));
    }
    let spec = spec.downcast_ref::<glib::ParamSpecDouble>()?;
    Some((spec.minimum(), spec.maximum()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{init, launch};

    #[test]
    fn values_are_checked_by_type_and_range() {
        init().unwrap();
        let text = "# adjustable: enc.bitrate (100..20000) kbit/s\n#adjustable: t.text (0..5)\n\
                    # adjustable: v.volume (0..20)\n# adjustable: enc.tune (0..0)";
        let declared = declared(text).unwrap();
        assert_eq!(declared.len(), 4);
        let description = "videotestsrc ! textoverlay name=t ! x264enc name=enc ! fakesink \
                           audiotestsrc ! volume name=v ! fakesink";
        let pipeline = launch::parse("test", description).unwrap();
        let set = |name: &str, value: &str| {
            let found = declared
                .iter()
                .find(|declared| declared.name() == name)
                .unwrap();
            let checked = found.check(&pipeline, value);
            let (element, value) = checked.map_err(|error| error.to_string())?;
            element.set_property_from_value(&found.property, &value);
            Ok::<_, String>(())
        };
        set("enc.bitrate", "800").unwrap();
        let encoder = pipeline.by_name("enc").unwrap();
        assert_eq!(encoder.property::<u32>("bitrate"), 800);
        assert!(
            set("enc.bitrate", "50")
                .unwrap_err()
                .contains("100 to 20000 kbit/s")
        );
        for value in ["much", "-1", "1.5"] {
            assert!(set("enc.bitrate", value).is_err(), "{value}");
        }
        set("t.text", "h\" i").unwrap();
        assert_eq!(
            pipeline.by_name("t").unwrap().property::<String>("text"),
            "h\" i"
        );
        assert!(set("t.text", "longer").is_err());
        assert!(set("v.volume", "11").unwrap_err().contains("0 to 10"));
        set("v.volume", "0.5").unwrap();
        set("enc.tune", "zerolatency").unwrap();
        assert!(set("enc.tune", "nonsense").is_err());
        let values: Vec<_> = declared
            .iter()
            .map(|adjustable| adjustable.read(&pipeline).unwrap().value)
            .collect();
        assert_eq!(
            json::json!(values),
            json::json!([800, "h\" i", 0.5, "zerolatency"])
        );
    }

    #[test]
    fn bad_declarations_name_their_line() {
        for text in [
            "enc (1..2)",
            "enc.b 1..2",
            "enc.b (1)",
            "enc.b (2..1)",
            "enc.b (1..inf)",
            ".b (1..2)",
        ] {
            let error = declared(&format!("\n# {MARK} {text}"))
                .unwrap_err()
                .to_string();
            assert!(error.starts_with("line 2: "), "{error}");
        }
    }
}
