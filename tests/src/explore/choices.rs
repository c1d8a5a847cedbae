//! A generator of choices that is run again and again until every combination has been taken.
//!
//! A test asks it wherever things could go one way or another, as it would ask a random generator. After each run
//! the last choice that has another way left takes it, and all later ones are forgotten: a depth-first walk over
//! a tree that nobody has to build.

/// The choices of the present run, and what is left of the others.
#[derive(Clone, Debug, Default)]
pub struct Choices {
    /// What was taken, and out of how many.
    taken: Vec<(usize, usize)>,
    /// How many of these the present run has asked for.
    asked: usize,
    begun: bool,
}

impl Choices {
    /// Nothing chosen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins the next run; `false` when there has been every one.
    pub fn next_run(&mut self) -> bool {
        self.asked = 0;
        if !self.begun {
            self.begun = true;
            return true;
        }
        while let Some((taken, of)) = self.taken.pop() {
            if taken + 1 < of {
                self.taken.push((taken + 1, of));
                return true;
            }
        }
        false
    }

    /// One of the numbers below `of`.
    ///
    /// # Panics
    ///
    /// When there is nothing to choose from, or when a repeated run asks for something else than before: then
    /// what is tested depends on more than these choices.
    pub fn choose(&mut self, of: usize) -> usize {
        assert!(of > 0, "there is nothing to choose from");
        if !self.replaying() {
            self.taken.push((0, of));
        }
        let (taken, before) = self.taken[self.asked];
        assert_eq!(of, before, "a repeated run went another way");
        self.asked += 1;
        taken
    }

    /// Whether the next choice was already made in an earlier run.
    pub fn replaying(&self) -> bool {
        self.asked < self.taken.len()
    }

    /// What this run has chosen so far.
    pub fn path(&self) -> Vec<usize> {
        self.taken[..self.asked].iter().map(|(taken, _)| *taken).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_comes_once() {
        let mut seen = Vec::new();
        let mut choices = Choices::new();
        while choices.next_run() {
            let first = choices.choose(3);
            // How many choices there are may depend on those before.
            let rest: Vec<usize> = (0..first).map(|_| choices.choose(2)).collect();
            seen.push((first, rest));
        }
        assert_eq!(seen.len(), 1 + 2 + 4);
        assert!(seen.is_sorted());
        seen.dedup();
        assert_eq!(seen.len(), 7);
    }
}
