"""Small components that work, one a kind: what `nmrtk new-plugin` copies into a package.

Each file is whole, uses nothing that a plugin cannot use, and names nobody: the name of a
component is given by the hook of its plugin.
"""
