// Globs of repository names and tags, as configurations write them.

/** `*` stands for characters of one component, `**` for any number of components. */
export function globPattern(glob: string): RegExp {
  const source = glob.replace(/\*\*|\*|[^*]+/g, (part) => {
    if (part === '**') return '.*'
    return part === '*' ? '[^/]*' : part.replace(/[.+?^${}()|[\]\\]/g, '\\$&')
  })
  return new RegExp(`^${source}$`)
}
