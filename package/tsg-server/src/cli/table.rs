//! Aligned columns.

/// Lines of equally many cells, the first of them the heading.
pub(super) struct Table {
    lines: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(heading: &[&str]) -> Self {
        Self { lines: vec![heading.iter().map(|&cell| cell.to_owned()).collect()] }
    }

    pub(super) fn line(&mut self, cells: Vec<String>) {
        self.lines.push(cells);
    }

    /// The table, or `none` when it has no lines.
    pub(super) fn text(&self, none: &str) -> String {
        if self.lines.len() == 1 {
            return format!("{none}\n");
        }
        let mut widths = Vec::new();
        for line in &self.lines {
            widths.resize(line.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(line) {
                *width = cell.chars().count().max(*width);
            }
        }
        let mut text = String::new();
        for line in &self.lines {
            let padded: Vec<_> =
                line.iter().zip(&widths).map(|(cell, &width)| format!("{cell:width$}")).collect();
            text.push_str(padded.join("  ").trim_end());
            text.push('\n');
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(&["NAME", "STATE"]);
        assert_eq!(table.text("nobody"), "nobody\n");
        table.line(vec!["pump".to_owned(), "online".to_owned()]);
        table.line(vec!["größer".to_owned(), String::new()]);
        assert_eq!(table.text(""), "NAME    STATE\npump    online\ngrößer\n");
    }
}
