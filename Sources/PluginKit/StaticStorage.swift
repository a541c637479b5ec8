// The table's strings and rows live as long as the process: each is allocated once and never freed.

func cString(_ text: StaticString) -> UnsafePointer<CChar>? {
    guard text.hasPointerRepresentation else { return cString(copying: text.description) }
    return UnsafeRawPointer(text.utf8Start).assumingMemoryBound(to: CChar.self)
}

func cString(copying text: String) -> UnsafePointer<CChar>? { permanent(text.utf8CString.map { $0 }) }

/// A NULL-terminated list; `nil` for an empty one.
func cStrings(copying texts: [String]) -> UnsafePointer<UnsafePointer<CChar>?>? {
    texts.isEmpty ? nil : permanent(texts.map { cString(copying: $0) } + [nil])
}

func permanent<Element>(_ elements: [Element]) -> UnsafePointer<Element>? {
    guard !elements.isEmpty else { return nil }
    let storage = UnsafeMutablePointer<Element>.allocate(capacity: elements.count)
    storage.initialize(from: elements, count: elements.count)
    return UnsafePointer(storage)
}
