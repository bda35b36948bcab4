//! What a Markdown file leads to, and what leads into it.

use std::collections::BTreeSet;
use std::mem;

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

/// The links of a Markdown file, and the anchors of its headings.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    /// Where links and images lead, as they are written.
    pub(super) links: Vec<String>,
    /// What may follow `#` in a link to the page.
    pub(super) anchors: BTreeSet<String>,
}

impl Page {
    pub(super) fn read(markdown: &str) -> Self {
        let options = Options::ENABLE_TABLES | Options::ENABLE_FOOTNOTES | Options::ENABLE_STRIKETHROUGH;
        let mut page = Self::default();
        let mut heading = None;
        for event in Parser::new_ext(markdown, options) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    page.links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    if let Some(text) = mem::take(&mut heading) {
                        page.add_heading(&text);
                    }
                }
                Event::Text(text) | Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Html(html) | Event::InlineHtml(html) => {
                    page.links
                        .extend(attributes(&html, "href").chain(attributes(&html, "src")).map(str::to_owned));
                    page.anchors.extend(attributes(&html, "id").map(str::to_owned));
                }
                _ => {}
            }
        }
        page
    }

    /// The second heading of a name gets `-1`, as forges and mdBook have it.
    fn add_heading(&mut self, text: &str) {
        let anchor = anchor(text);
        let mut unique = anchor.clone();
        let mut count = 0;
        while !self.anchors.insert(unique) {
            count += 1;
            unique = format!("{anchor}-{count}");
        }
    }
}

/// The anchor that forges and mdBook give to a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter_map(|character| match character {
        ' ' => Some('-'),
        '-' | '_' => Some(character),
        _ => character.is_alphanumeric().then_some(character),
    });
    kept.collect::<String>().to_lowercase()
}

/// The values of an attribute in HTML whose values stand between double quotes.
pub(super) fn attributes<'h>(html: &'h str, name: &str) -> impl Iterator<Item = &'h str> {
    let start = format!(" {name}=\"");
    let mut rest = html;
    std::iter::from_fn(move || {
        let (_, value) = rest.split_once(&start)?;
        let (value, after) = value.split_once('"')?;
        rest = after;
        Some(value)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_headings_are_found() {
        let page = Page::read(
            "# One `two`: three, four?\n\n[a](a.md#b) ![i](i.svg) `[c](c.md)` <img alt=\"\" src=\"d.svg\">\n\n## Same\n\n## Same\n\n\
             | x |\n|---|\n| [e](e.md) |\n\n```\n[f](f.md)\n```\n",
        );
        assert_eq!(page.links, ["a.md#b", "i.svg", "d.svg", "e.md"]);
        let anchors: Vec<_> = page.anchors.iter().map(String::as_str).collect();
        assert_eq!(anchors, ["one-two-three-four", "same", "same-1"]);
    }
}
