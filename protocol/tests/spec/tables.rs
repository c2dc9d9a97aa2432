//! The tables themselves, as Markdown.

use crate::annotate;
use crate::pages;
use crate::registry::Field;
use crate::samples;
use crate::schema::Schema;

/// Enumerations of one frame each, which have their tables among its fields.
const INLINE: [&str; 5] = ["scope", "disposition", "direction", "level", "room filter"];

/// Every table that some page has to have.
pub(crate) fn all(schema: &Schema) -> Vec<String> {
    let registry = &schema.registry;
    let mut all: Vec<String> = [
        "header",
        "layouts",
        "enumerations",
        "frames",
        "bodies",
        "bounds",
        "limits",
        "errors",
        "reserved",
        "reserved-values",
        "extensions",
    ]
    .map(str::to_owned)
    .into();
    all.extend(
        registry
            .enums
            .iter()
            .map(|row| &row.name)
            .filter(|name| !INLINE.contains(&name.as_str()))
            .map(|name| format!("enum {name}")),
    );
    for frame in &registry.frame {
        all.extend(
            ["head", "layout", "fields", "errors-of", "example"].map(|what| format!("{what} {}", frame.name)),
        );
    }
    all
}

/// The table of that name.
pub(crate) fn render(schema: &Schema, what: &str) -> Option<String> {
    let (name, argument) = what.split_once(' ').unwrap_or((what, ""));
    Some(match name {
        "header" => header(schema),
        "layouts" => layouts(schema),
        "enumerations" => enumerations(schema),
        "frames" => frames(schema),
        "enum" => enumeration(schema, argument)?,
        "bodies" => bodies(schema),
        "bounds" => bounds(schema),
        "limits" => limits(schema),
        "errors" => errors(schema),
        "reserved" => reserved(schema),
        "reserved-values" => reserved_values(schema),
        "extensions" => extensions(schema),
        "head" => head(schema, argument),
        "layout" => figure(schema, argument),
        "fields" => fields_of(schema, argument),
        "errors-of" => errors_of(schema, argument),
        "example" => example(schema, argument),
        _ => return None,
    })
}

fn table(columns: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut out = format!("| {} |\n|{}\n", columns.join(" | "), "---|".repeat(columns.len()));
    for row in rows {
        assert_eq!(row.len(), columns.len());
        let cells: Vec<String> = row.iter().map(|cell| cell.replace('|', "\\|")).collect();
        out.push_str(&format!("| {} |\n", cells.join(" | ")));
    }
    out
}

fn number(value: u16, layout: &str) -> String {
    if layout == "u16" { format!("{value:#06x}") } else { value.to_string() }
}

fn yes(claim: bool) -> String {
    if claim { "yes" } else { "no" }.to_owned()
}

fn header(schema: &Schema) -> String {
    let rows = schema.registry.header.iter();
    table(
        &["Offset", "Bytes", "Field", "Meaning"],
        rows.map(|row| {
            vec![row.offset.to_string(), row.size.to_string(), row.name.clone(), row.meaning.clone()]
        }),
    )
}

fn layouts(schema: &Schema) -> String {
    table(
        &["Layout", "Bytes", "Meaning"],
        schema.registry.layout.iter().map(|row| {
            let bytes = match (row.bytes, row.prefix) {
                (Some(bytes), _) => bytes.to_string(),
                (None, Some(prefix)) => format!("{prefix} + n"),
                (None, None) => unreachable!("a layout has a width or a prefix"),
            };
            vec![row.name.clone(), bytes, row.meaning.clone()]
        }),
    )
}

fn enumerations(schema: &Schema) -> String {
    let registry = &schema.registry;
    table(
        &["Layout", "Bytes", "Meaning", "Values"],
        registry.enums.iter().map(|row| {
            let bytes = registry.enum_bytes(&row.name).expect("an enumeration has a width");
            let (place, link) = home(schema, &row.name);
            vec![row.name.clone(), bytes.to_string(), row.meaning.clone(), format!("[{place}]({link})")]
        }),
    )
}

/// Where an enumeration's values stand: the page's name and a link to it.
fn home(schema: &Schema, name: &str) -> (String, String) {
    let marker = format!("<!-- registry:enum {name} -->");
    for (page, text) in pages::texts() {
        if let Some((before, _)) = text.split_once(&marker) {
            let heading =
                before.lines().rev().find(|line| line.starts_with('#')).expect("a page has a title");
            return (
                heading.trim_start_matches(['#', ' ']).to_owned(),
                format!("{page}#{}", pages::slug(heading)),
            );
        }
    }
    let frames = &schema.registry.frame;
    let frame = frames.iter().find(|row| holds(schema, &row.fields, name)).expect("a frame has the table");
    (frame.name.clone(), format!("frames/{}.md#fields", frame.name))
}

/// Whether a frame's fields, or those of a record in it, have that layout.
fn holds(schema: &Schema, fields: &[Field], layout: &str) -> bool {
    let is_here = |fields: &[Field]| fields.iter().any(|field| field.layout == layout);
    let nested = fields.iter().filter_map(|field| {
        let record = field.of.as_ref().unwrap_or(&field.layout);
        schema.registry.record.iter().find(|row| row.name == *record)
    });
    is_here(fields) || nested.into_iter().any(|row| is_here(&row.fields))
}

fn frames(schema: &Schema) -> String {
    table(
        &["Code", "Type", "Sent by", "Answered by", "Meaning"],
        schema.registry.frame.iter().map(|row| {
            let answers = match row.answered_by.as_slice() {
                [] => "–".to_owned(),
                answers => answers.join(", "),
            };
            let link = format!("[{0}](frames/{0}.md)", row.name);
            vec![format!("{:#06x}", row.code), link, row.sent_by.clone(), answers, row.meaning.clone()]
        }),
    )
}

fn enumeration(schema: &Schema, name: &str) -> Option<String> {
    let row = schema.registry.enums.iter().find(|row| row.name == name)?;
    let values = row.values.iter();
    let title = format!("{} (`{}`)", row.name, row.layout);
    let rows = table(
        &[title.as_str(), "Name", "Meaning"],
        values.map(|value| vec![number(value.value, &row.layout), value.name.clone(), value.meaning.clone()]),
    );
    Some(format!("{}\n\n{rows}", row.meaning))
}

fn layout_of(field: &Field) -> String {
    let max =
        |name: &Option<String>| name.as_ref().map(|name| format!(", at most `{name}`")).unwrap_or_default();
    match &field.of {
        Some(of) => format!(
            "list of {of}{}{}",
            max(&field.of_max),
            max(&field.max).replace("at most", "count at most")
        ),
        None => format!("{}{}", field.layout, max(&field.max)),
    }
}

fn field_rows<'a>(prefix: &'a str, fields: &'a [Field]) -> impl Iterator<Item = Vec<String>> + 'a {
    fields
        .iter()
        .map(move |field| vec![format!("{prefix}`{}`", field.name), layout_of(field), field.meaning.clone()])
}

fn bodies(schema: &Schema) -> String {
    let rows = schema.registry.body.iter().flat_map(|body| {
        field_rows("", &body.fields).map(|mut row| {
            row.insert(0, body.kind.clone());
            row
        })
    });
    table(&["Kind", "Field", "Layout", "Meaning"], rows)
}

fn bounds(schema: &Schema) -> String {
    table(
        &["Bound", "Value", "Unit", "Meaning"],
        schema.registry.bound.iter().map(|row| {
            vec![format!("`{}`", row.name), row.value.to_string(), row.unit.clone(), row.meaning.clone()]
        }),
    )
}

fn limits(schema: &Schema) -> String {
    table(
        &["Id", "Limit", "Unit", "Least", "Most", "Default", "Meaning"],
        schema.registry.limit.iter().map(|row| {
            vec![
                format!("{:#06x}", row.id),
                format!("`{}`", row.name),
                row.unit.clone(),
                row.min.to_string(),
                row.max.to_string(),
                row.default.map_or("the server's".to_owned(), |value| value.to_string()),
                row.meaning.clone(),
            ]
        }),
    )
}

fn errors(schema: &Schema) -> String {
    table(
        &["Code", "Name", "Scope", "Retryable", "Resume", "Meaning"],
        schema.registry.error.iter().map(|row| {
            vec![
                format!("{:#06x}", row.code),
                row.name.clone(),
                row.scope.clone(),
                yes(row.retryable),
                yes(row.resume_allowed),
                row.meaning.clone(),
            ]
        }),
    )
}

fn reserved(schema: &Schema) -> String {
    let registry = &schema.registry;
    let rows = registry.reserved.iter().chain(&registry.private);
    table(
        &["Codes", "For"],
        rows.map(|row| {
            let codes = match row.first == row.last {
                true => format!("{:#06x}", row.first),
                false => format!("{:#06x} to {:#06x}", row.first, row.last),
            };
            vec![codes, row.name.clone()]
        }),
    )
}

fn reserved_values(schema: &Schema) -> String {
    let rows = schema.registry.enums.iter().flat_map(|row| {
        let values = row.reserved.iter();
        values.map(|value| vec![row.name.clone(), number(value.value, &row.layout), value.name.clone()])
    });
    table(&["Enumeration", "Value", "For"], rows)
}

fn extensions(schema: &Schema) -> String {
    let tags = &schema.registry.extensions;
    let span = |first: u16, last: u16| {
        let high = tags.ignorable_bit;
        format!("{first:#06x} to {last:#06x}; {:#06x} to {:#06x} when ignorable", first | high, last | high)
    };
    table(
        &["Tags", "For"],
        [
            vec!["0x0000, 0x8000".to_owned(), "never a tag".to_owned()],
            vec![
                span(tags.specified_first, tags.specified_last),
                "this specification; none is assigned".to_owned(),
            ],
            vec![span(tags.private_first, tags.private_last), "private use".to_owned()],
        ],
    )
}

fn head(schema: &Schema, name: &str) -> String {
    let row = schema.registry.frame(name);
    let answers = match row.answered_by.as_slice() {
        [] => "nothing".to_owned(),
        answers => {
            answers.iter().map(|answer| format!("[{answer}]({answer}.md)")).collect::<Vec<_>>().join(", ")
        }
    };
    let by = if row.sent_by == "both" { "client and server" } else { row.sent_by.as_str() };
    let capability = row.capability.as_deref().unwrap_or("–").to_owned();
    table(
        &["Type", "Sent by", "Answered by", "Skipped when unknown", "Capability", "Since"],
        [vec![
            format!("{:#06x}", row.code),
            by.to_owned(),
            answers,
            yes(row.ignorable),
            capability,
            format!("version {}", row.since),
        ]],
    )
}

/// The width of a field in a figure: a number, or a prefix and what follows it.
fn width(schema: &Schema, field: &Field) -> String {
    let registry = &schema.registry;
    if let Some(row) = registry.layout.iter().find(|row| row.name == field.layout) {
        return row
            .bytes
            .map_or_else(|| format!("{}+n", row.prefix.unwrap_or_default()), |bytes| bytes.to_string());
    }
    if registry.record.iter().any(|row| row.name == field.layout) {
        return "n".to_owned();
    }
    registry.enum_bytes(&field.layout).expect("an enumeration").to_string()
}

fn figure(schema: &Schema, name: &str) -> String {
    let mut lines = vec![String::from(" |")];
    let fields = &schema.registry.frame(name).fields;
    let cells = std::iter::once("header 20".to_owned())
        .chain(fields.iter().map(|field| format!("{} {}", field.name, width(schema, field))))
        .chain(std::iter::once("extensions n".to_owned()));
    for cell in cells {
        let line = lines.last_mut().expect("there is a first line");
        match line.len() + cell.len() > 96 {
            true => lines.push(format!(" | {cell} |")),
            false => line.push_str(&format!(" {cell} |")),
        }
    }
    format!("```text\n{}\n```\n", lines.join("\n"))
}

fn fields_of(schema: &Schema, name: &str) -> String {
    let registry = &schema.registry;
    let fields = &registry.frame(name).fields;
    if fields.is_empty() {
        return "None.\n".to_owned();
    }
    let columns = ["Field", "Layout", "Meaning"];
    let mut out = table(&columns, field_rows("", fields));
    for field in fields {
        let record = field.of.as_ref().unwrap_or(&field.layout);
        if let Some(row) = registry.record.iter().find(|row| row.name == *record) {
            out.push_str(&format!(
                "\n{}: {}\n\n{}",
                row.name,
                row.meaning,
                table(&columns, field_rows("", &row.fields))
            ));
        }
    }
    for name in INLINE {
        if holds(schema, fields, name) {
            out.push_str(&format!("\n{}", enumeration(schema, name).expect("a registered enumeration")));
        }
    }
    out
}

fn errors_of(schema: &Schema, name: &str) -> String {
    let registry = &schema.registry;
    let row = registry.frame(name);
    if row.errors.is_empty() {
        let text = match row.answered_by.is_empty() {
            true => "None of its own.\n",
            false => "None but those that [every request](../errors.md#which-requests-get-which) may get.\n",
        };
        return text.to_owned();
    }
    table(
        &["Error", "Scope", "When"],
        row.errors.iter().map(|error| {
            let known = registry.error.iter().find(|row| row.name == error.code).expect("a registered code");
            vec![error.code.clone(), known.scope.clone(), error.when.clone()]
        }),
    )
}

fn example(schema: &Schema, name: &str) -> String {
    let (correlation, frame) = samples::all()
        .into_iter()
        .find(|(_, frame)| frame.frame_type().name() == Some(name))
        .unwrap_or_else(|| panic!("no sample of {name}"));
    format!("```text\n{}```\n", annotate::frame(schema, frame.encode(correlation).as_slice()))
}
