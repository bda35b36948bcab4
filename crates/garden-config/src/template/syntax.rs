//! From text to parts: the words of each placeholder, and the blocks that they open and close.

use std::ops::Range;

use pest::Parser as _;
use pest::iterators::Pair;

use super::expression::{Expression, Part, Placeholder, Template};
use super::{Fault, TemplateProblem, limits, parser};
use crate::project::Generation;

/// The parser that `grammar.pest` describes.
#[derive(pest_derive::Parser)]
#[grammar = "template/grammar.pest"]
struct Grammar;

/// Where a template stands within the outermost one.
#[derive(Debug)]
pub(super) enum Place {
    /// It is written out from this byte on.
    From(usize),
    /// It is written with escapes, so that only the whole can be pointed at.
    Within(Range<usize>),
}

impl Place {
    fn span(&self, start: usize, end: usize) -> Range<usize> {
        match self {
            Self::From(offset) => offset + start..offset + end,
            Self::Within(span) => span.clone(),
        }
    }
}

/// A word within a placeholder.
#[derive(Debug)]
pub(super) struct Word<'t> {
    pub(super) rule: Rule,
    pub(super) text: &'t str,
    /// Bytes within the outermost template.
    pub(super) span: Range<usize>,
    /// Whether there is white space on both sides.
    pub(super) spaced: bool,
}

pub(super) fn parse(text: &str, generation: Generation) -> Result<Template, TemplateProblem> {
    parse_nested(text, &Place::From(0), 0, generation)
}

/// Parses a template that stands `depth` levels within others.
pub(super) fn parse_nested(
    text: &str,
    place: &Place,
    depth: usize,
    generation: Generation,
) -> Result<Template, TemplateProblem> {
    let span = place.span(0, text.len());
    let unreadable = |_| Fault::new("this cannot be read as a template").at(&span);
    let template = Grammar::parse(Rule::template, text).map_err(unreadable)?;
    let mut reader = Reader { text, place, depth, generation, parts: Vec::new(), open: Vec::new() };
    for part in template.flat_map(Pair::into_inner) {
        reader.read(part)?;
    }
    Ok(Template { parts: reader.finish()?, span })
}

struct Reader<'t> {
    text: &'t str,
    place: &'t Place,
    depth: usize,
    generation: Generation,
    parts: Vec<Part>,
    /// The blocks that are open, innermost last.
    open: Vec<Block>,
}

/// An `${if …}` that was not closed yet.
struct Block {
    span: Range<usize>,
    condition: Expression,
    then: Vec<Part>,
    /// What follows the `${else}`, once there is one.
    otherwise: Option<Vec<Part>>,
}

impl Reader<'_> {
    fn read(&mut self, part: Pair<'_, Rule>) -> Result<(), TemplateProblem> {
        let span = self.place.span(part.as_span().start(), part.as_span().end());
        match part.as_rule() {
            Rule::placeholder => self.placeholder(part, &span)?,
            Rule::else_mark => match self.open.last_mut() {
                Some(block) if block.otherwise.is_none() => block.otherwise = Some(Vec::new()),
                Some(_) => return Err(Fault::new("this block has a second `${else}`").at(&span)),
                None => return Err(Fault::new("there is no `${if …}` before this `${else}`").at(&span)),
            },
            Rule::endif_mark => {
                let Some(Block { condition, then, otherwise, .. }) = self.open.pop() else {
                    return Err(Fault::new("there is no `${if …}` before this `${endif}`").at(&span));
                };
                self.push(Part::Conditional { condition, then, otherwise: otherwise.unwrap_or_default() });
            }
            Rule::escape => {
                let escaped = part.into_inner().map(|escaped| escaped.as_str());
                self.push(Part::Text(escaped.collect()));
            }
            Rule::EOI => {}
            _ => self.push(Part::Text(part.as_str().to_owned())),
        }
        Ok(())
    }

    fn placeholder(
        &mut self,
        placeholder: Pair<'_, Rule>,
        span: &Range<usize>,
    ) -> Result<(), TemplateProblem> {
        let start = placeholder.as_span().start();
        let mut opening = self.word(Rule::placeholder, start, start + "${".len());
        let words = placeholder.into_inner().map(|word| {
            let (rule, place) = (word.as_rule(), word.as_span());
            // What follows a quote without a partner is not a text.
            let end = if rule == Rule::open_string { place.start() + 1 } else { place.end() };
            self.word(rule, place.start(), end)
        });
        let mut words: Vec<Word<'_>> = words.collect();
        if let Some(quote) = words.iter().find(|word| word.rule == Rule::open_string) {
            let message = format!("the text that starts with `{}` is never closed", quote.text);
            return Err(Fault::new(message).at(&quote.span));
        }
        let Some(close) = words.pop_if(|word| word.rule == Rule::close) else {
            let hint = "add the `}`, or write `${'$'}{` if the characters themselves are meant";
            return Err(Fault::new("`${` is never closed").hint(hint).at(&opening.span));
        };
        // Garden 0.14 has no such suffix any more.
        let suffix = close.text == "}?";
        let optional = suffix && self.generation < Generation::V2;
        let is_block = words.first().is_some_and(|word| word.rule == Rule::if_mark);
        if is_block {
            opening = words.remove(0);
        }
        let depth = self.depth + self.open.len();
        let expression = parser::expression(&words, &opening, self.place, depth, self.generation)?;
        if !is_block {
            let question_mark = optional.then_some(close.span.end - 1);
            self.push(Part::Placeholder(Placeholder { expression, question_mark }));
            if suffix && !optional {
                self.push(Part::Text("?".to_owned()));
            }
            return Ok(());
        }
        if optional {
            let message = "`?` cannot follow `${if …}`";
            return Err(Fault::new(message).hint("write `${if … || false}`").at(&close.span));
        }
        if depth == limits::DEEPEST_NESTING {
            return Err(limits::nested_too_deep().at(span));
        }
        let then = if suffix { vec![Part::Text("?".to_owned())] } else { Vec::new() };
        let (span, otherwise) = (span.clone(), None);
        self.open.push(Block { span, condition: expression, then, otherwise });
        Ok(())
    }

    fn push(&mut self, part: Part) {
        let parts = match self.open.last_mut() {
            None => &mut self.parts,
            Some(Block { otherwise: Some(otherwise), .. }) => otherwise,
            Some(block) => &mut block.then,
        };
        parts.push(part);
    }

    fn finish(self) -> Result<Vec<Part>, TemplateProblem> {
        match self.open.last() {
            None => Ok(self.parts),
            Some(block) => {
                let fault = Fault::new("this block is never closed").hint("add `${endif}` at its end");
                Err(fault.at(&block.span))
            }
        }
    }
}

impl<'t> Reader<'t> {
    fn word(&self, rule: Rule, start: usize, end: usize) -> Word<'t> {
        let blank = |character: Option<char>| character.is_some_and(crate::javascript::is_blank);
        let (before, after) = (self.text[..start].chars().next_back(), self.text[end..].chars().next());
        Word {
            rule,
            text: &self.text[start..end],
            span: self.place.span(start, end),
            spaced: blank(before) && blank(after),
        }
    }
}
