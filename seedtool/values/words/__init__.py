"""The words, by what they are about. Each function with `@word` is one; its parameters are those of the recipe."""
