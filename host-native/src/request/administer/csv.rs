//! Tables of text for spreadsheets.

/// A cell as RFC 4180 has it. One that a spreadsheet would take for a formula stands behind a quotation mark: what clients
/// send must not be run by who opens the file.
pub(crate) fn cell(text: &str) -> String {
    let is_formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
    let shown = if is_formula { format!("'{text}") } else { text.to_owned() };
    match shown.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", shown.replace('"', "\"\"")),
        false => shown,
    }
}

/// A line of cells, with its end.
pub(crate) fn line<'c>(cells: impl IntoIterator<Item = &'c str>) -> String {
    let cells: Vec<String> = cells.into_iter().map(cell).collect();
    cells.join(",") + "\r\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_cell_is_a_formula_or_ends_a_line() {
        for (text, expected) in [
            ("", ""),
            ("team/app", "team/app"),
            ("=1+1", "'=1+1"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("@a", "'@a"),
            ("\t=1", "'\t=1"),
            ("a=b", "a=b"),
            ("a,\"b\"", "\"a,\"\"b\"\"\""),
            ("=a,b\nc", "\"'=a,b\nc\""),
        ] {
            assert_eq!(cell(text), expected);
        }
        assert_eq!(line(["a", "b,c", ""]), "a,\"b,c\",\r\n");
    }
}
