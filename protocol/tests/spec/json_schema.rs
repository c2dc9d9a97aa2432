//! As much of JSON Schema as the vectors' schema uses: an unknown key word is an error, so that none is passed over.

use serde_json::Value;

/// Checks a value against a whole schema.
pub(crate) fn check(schema: &Value, value: &Value) -> Result<(), String> {
    against(schema, schema, value, "$")
}

fn against(root: &Value, schema: &Value, value: &Value, path: &str) -> Result<(), String> {
    for (keyword, rule) in schema.as_object().ok_or(format!("{path}: the schema is no object"))? {
        let is_met = match keyword.as_str() {
            "$schema" | "$id" | "$defs" | "title" | "description" => true,
            "$ref" => {
                let pointer = rule.as_str().and_then(|link| link.strip_prefix('#')).unwrap_or_default();
                let target = root.pointer(pointer).ok_or(format!("{path}: no {rule} in the schema"))?;
                against(root, target, value, path)?;
                true
            }
            "type" => is_of_type(rule.as_str().unwrap_or_default(), value),
            "enum" => rule.as_array().is_some_and(|values| values.contains(value)),
            "minItems" => {
                value.as_array().is_none_or(|items| items.len() as u64 >= rule.as_u64().unwrap_or(0))
            }
            "required" => {
                let names = rule.as_array().into_iter().flatten().filter_map(Value::as_str);
                value.as_object().is_none_or(|object| names.into_iter().all(|name| object.contains_key(name)))
            }
            "items" => {
                for (index, item) in value.as_array().into_iter().flatten().enumerate() {
                    against(root, rule, item, &format!("{path}[{index}]"))?;
                }
                true
            }
            "properties" => {
                for (name, member) in value.as_object().into_iter().flatten() {
                    if let Some(rule) = rule.get(name) {
                        against(root, rule, member, &format!("{path}.{name}"))?;
                    }
                }
                true
            }
            "additionalProperties" => {
                let known = schema.get("properties").and_then(Value::as_object);
                let is_known = |name: &String| known.is_some_and(|known| known.contains_key(name));
                *rule != Value::Bool(false)
                    || value.as_object().is_none_or(|object| object.keys().all(is_known))
            }
            "pattern" => match rule.as_str() {
                Some("^([0-9a-f]{2})*$") => value.as_str().is_none_or(is_hex),
                _ => return Err(format!("{path}: pattern {rule} is not supported")),
            },
            other => return Err(format!("{path}: the schema's {other} is not supported")),
        };
        if !is_met {
            return Err(format!("{path}: {keyword} {rule} is not met"));
        }
    }
    Ok(())
}

fn is_hex(text: &str) -> bool {
    text.len().is_multiple_of(2) && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

fn is_of_type(name: &str, value: &Value) -> bool {
    match name {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64(),
        _ => false,
    }
}

#[test]
fn a_value_that_does_not_fit_is_refused() {
    let schema = serde_json::json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": { "a": { "type": "string", "pattern": "^([0-9a-f]{2})*$" } },
    });
    let fits = |text: &str| check(&schema, &serde_json::from_str(text).unwrap()).is_ok();
    assert!(fits(r#"{"a": "00ff"}"#));
    for bad in [r#"{}"#, r#"{"a": "0"}"#, r#"{"a": 1}"#, r#"{"a": "", "b": 1}"#, r#"[]"#] {
        assert!(!fits(bad), "{bad}");
    }
}
