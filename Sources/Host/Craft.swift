@main struct Craft { static func main() {} }
