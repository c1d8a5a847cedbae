//! Puts changes into a source file, each behind a switch: `crate::switched(7)` says whether change 7 is the one to try.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use proc_macro2::{LineColumn, Span};
use syn::spanned::Spanned;
use syn::visit::{self, Visit};

use crate::{Genre, Mutant, Position};

/// A place in the text, and what is to stand there.
struct Site {
    at: Range<usize>,
    change: Change,
}

enum Change {
    /// Before the first statement of a function: it returns this.
    Body(Vec<(usize, String)>),
    /// Operators of one chain, as in `a + b == c`: cargo-mutants exchanges their text, whatever that binds to.
    Operators(Vec<(usize, Range<usize>, String)>),
    /// The operator is left out: the operand alone.
    Unary(usize, Range<usize>),
    /// The guard of an arm is `true` or `false`.
    Guard(Vec<(usize, String)>),
    /// Behind the pattern of an arm without a guard: the arm is left out.
    Arm(usize),
    /// The field is that of the struct which the others come from.
    Field { number: usize, member: Range<usize>, value: Option<Range<usize>>, base: Range<usize> },
}

/// The text with these changes of it, and those that have no place: they would not compile.
pub(crate) fn switched(text: &str, mutants: &[(usize, &Mutant)]) -> syn::Result<(String, BTreeSet<usize>)> {
    let mut at: BTreeMap<Position, Vec<(usize, &Mutant)>> = BTreeMap::new();
    for (number, mutant) in mutants {
        at.entry(mutant.span.start).or_default().push((*number, mutant));
    }
    let ends = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
    let lines = std::iter::once(0).chain(ends).collect();
    let placeless = mutants.iter().map(|(number, _)| *number).collect();
    let mut finder = Finder { text, lines, at, sites: Vec::new(), placeless };
    finder.visit_file(&syn::parse_file(text)?);
    let Finder { mut sites, placeless, .. } = finder;
    // From the outside in; what takes no room stands before what begins there. The sort is stable.
    sites.sort_by_key(|site| (site.at.start, !site.at.is_empty(), usize::MAX - site.at.end));
    Ok((Source(text).written(0..text.len(), &sites, None), placeless))
}

struct Finder<'a> {
    text: &'a str,
    /// Where each line begins.
    lines: Vec<usize>,
    at: BTreeMap<Position, Vec<(usize, &'a Mutant)>>,
    sites: Vec<Site>,
    placeless: BTreeSet<usize>,
}

impl Finder<'_> {
    fn offset(&self, place: LineColumn) -> usize {
        let line = self.lines[place.line - 1];
        let rest = &self.text[line..];
        line + rest.char_indices().nth(place.column).map_or(rest.len(), |(at, _)| at)
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.offset(span.start())..self.offset(span.end())
    }

    /// The changes of that kind that begin where this does, with what they put there.
    fn changes(&mut self, span: Span, genre: Genre) -> Vec<(usize, String)> {
        let place = Position { line: span.start().line, column: span.start().column + 1 };
        let here = self.at.get(&place).into_iter().flatten().filter(|(_, mutant)| mutant.genre == genre);
        let changes: Vec<_> = here.map(|(number, mutant)| (*number, mutant.replacement.clone())).collect();
        for (number, _) in &changes {
            self.placeless.remove(number);
        }
        changes
    }

    fn body(&mut self, block: &syn::Block) {
        let Some(first) = block.stmts.first() else { return };
        let changes = self.changes(first.span(), Genre::FnValue);
        if !changes.is_empty() {
            let start = self.range(first.span()).start;
            self.sites.push(Site { at: start..start, change: Change::Body(changes) });
        }
    }

    /// The operators of a chain, and what is inside its operands.
    fn chain(&mut self, expression: &syn::Expr, operators: &mut Vec<(usize, Range<usize>, String)>) {
        let syn::Expr::Binary(binary) = expression else { return self.visit_expr(expression) };
        let at = self.range(binary.op.span());
        let changes = self.changes(binary.op.span(), Genre::BinaryOperator);
        operators.extend(changes.into_iter().map(|(number, other)| (number, at.clone(), other)));
        self.chain(&binary.left, operators);
        self.chain(&binary.right, operators);
    }

    fn field(&mut self, field: &syn::FieldValue, base: Range<usize>) {
        for (number, _) in self.changes(field.span(), Genre::StructField) {
            let value = field.colon_token.map(|_| self.range(field.expr.span()));
            let change = Change::Field { number, member: self.range(field.member.span()), value, base: base.clone() };
            self.sites.push(Site { at: self.range(field.span()), change });
        }
    }
}

impl<'ast> Visit<'ast> for Finder<'_> {
    // Nothing is asked while it is compiled: constants have no place for a switch.
    fn visit_item_const(&mut self, _: &'ast syn::ItemConst) {}

    fn visit_impl_item_const(&mut self, _: &'ast syn::ImplItemConst) {}

    fn visit_item_fn(&mut self, function: &'ast syn::ItemFn) {
        self.body(&function.block);
        visit::visit_item_fn(self, function);
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        self.body(&function.block);
        visit::visit_impl_item_fn(self, function);
    }

    fn visit_expr(&mut self, expression: &'ast syn::Expr) {
        match expression {
            // `if let … && …` has no other operator in the place of its own.
            syn::Expr::Binary(binary) if binds(expression) => {
                self.visit_expr(&binary.left);
                self.visit_expr(&binary.right);
            }
            syn::Expr::Binary(_) => {
                let mut operators = Vec::new();
                self.chain(expression, &mut operators);
                if !operators.is_empty() {
                    self.sites.push(Site { at: self.range(expression.span()), change: Change::Operators(operators) });
                }
            }
            syn::Expr::Unary(unary) => {
                for (number, _) in self.changes(unary.op.span(), Genre::UnaryOperator) {
                    let change = Change::Unary(number, self.range(unary.expr.span()));
                    self.sites.push(Site { at: self.range(expression.span()), change });
                }
                visit::visit_expr(self, expression);
            }
            syn::Expr::Struct(made) => {
                if let Some(base) = &made.rest {
                    let base = self.range(base.span());
                    made.fields.iter().for_each(|field| self.field(field, base.clone()));
                }
                visit::visit_expr(self, expression);
            }
            _ => visit::visit_expr(self, expression),
        }
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        match &arm.guard {
            Some((_, guard)) => {
                let changes = self.changes(guard.span(), Genre::MatchArmGuard);
                if !changes.is_empty() {
                    self.sites.push(Site { at: self.range(guard.span()), change: Change::Guard(changes) });
                }
            }
            None => {
                for (number, _) in self.changes(arm.span(), Genre::MatchArm) {
                    let end = self.range(arm.pat.span()).end;
                    self.sites.push(Site { at: end..end, change: Change::Arm(number) });
                }
            }
        }
        visit::visit_arm(self, arm);
    }
}

/// Whether a chain of operators has a `let` in it.
fn binds(expression: &syn::Expr) -> bool {
    match expression {
        syn::Expr::Let(_) => true,
        syn::Expr::Binary(binary) => binds(&binary.left) || binds(&binary.right),
        _ => false,
    }
}

struct Source<'a>(&'a str);

impl Source<'_> {
    /// This part of the text with these sites in it; with `other` in the place of one operator between them.
    fn written(&self, part: Range<usize>, mut sites: &[Site], other: Option<(&Range<usize>, &str)>) -> String {
        let plain = |from: usize, to: usize| match other {
            Some((operator, other)) if from <= operator.start && operator.end <= to => {
                [&self.0[from..operator.start], other, &self.0[operator.end..to]].concat()
            }
            _ => self.0[from..to].into(),
        };
        let mut text = String::new();
        let mut at = part.start;
        while let Some((site, rest)) = sites.split_first() {
            let inside = rest.iter().take_while(|inner| inner.at.start < site.at.end).count();
            text += &plain(at, site.at.start);
            text += &self.changed(site, &rest[..inside]);
            at = site.at.end;
            sites = &rest[inside..];
        }
        text + &plain(at, part.end)
    }

    /// What stands in the place of a site. Each change begins a line: so it is found where the compiler refuses it.
    fn changed(&self, site: &Site, inside: &[Site]) -> String {
        let part = |part: &Range<usize>| {
            let first = inside.iter().take_while(|inner| inner.at.start < part.start).count();
            self.written(part.clone(), &inside[first..], None)
        };
        let whole = || self.written(site.at.clone(), inside, None);
        match &site.change {
            Change::Body(changes) => {
                let returns = |(number, value): &(usize, String)| {
                    format!("if crate::switched({number}) {{\nreturn {value};\n}}\n")
                };
                changes.iter().map(returns).collect()
            }
            Change::Operators(changes) => {
                let other = |(number, operator, other): &(usize, Range<usize>, String)| {
                    let text = self.written(site.at.clone(), inside, Some((operator, other)));
                    format!("if crate::switched({number}) {{\n{text}\n}} else ")
                };
                format!("({}{{\n{}\n}})", changes.iter().map(other).collect::<String>(), whole())
            }
            Change::Unary(number, operand) => {
                format!("(if crate::switched({number}) {{\n{}\n}} else {{\n{}\n}})", part(operand), whole())
            }
            Change::Guard(changes) => changes.iter().fold(whole(), |guard, (number, value)| match value.as_str() {
                "true" => format!("(crate::switched({number}) || ({guard}))"),
                _ => format!("(!crate::switched({number}) && ({guard}))"),
            }),
            Change::Arm(number) => format!(" if !crate::switched({number})\n"),
            Change::Field { number, member, value, base } => {
                let (member, base) = (&self.0[member.clone()], &self.0[base.clone()]);
                let value = value.as_ref().map_or(member.into(), part);
                format!("{member}: if crate::switched({number}) {{\n({base}).{member}\n}} else {{\n{value}\n}}")
            }
        }
    }
}
