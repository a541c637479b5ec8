import Glibc
import PluginAPI

/// Resolved settings in the form `create` receives them.
struct SettingTable {
    private let settings: [(name: String, value: Parameter.Value)]
    private let instance: String

    init(_ settings: [(name: String, value: Parameter.Value)], instance: String) {
        self.settings = settings
        self.instance = instance
    }

    /// Calls `body` with a table that is valid during the call.
    func withTable<Result>(_ body: (craft_settings) -> Result) -> Result {
        var strings: [UnsafeMutablePointer<CChar>?] = []
        defer { for string in strings { free(string) } }
        func copy(_ text: String) -> UnsafePointer<CChar>? {
            let string = strdup(text)
            strings.append(string)
            return UnsafePointer(string)
        }
        let rows = settings.map { name, value in
            var row = craft_setting()
            row.name = copy(name)
            row.text = copy(value.text)
            switch value {
            case .i64(let number):
                row.type = Int32(CRAFT_I64)
                row.i64 = number
            case .f64(let number):
                row.type = Int32(CRAFT_F64)
                row.f64 = number
            case .bool(let flag):
                row.type = Int32(CRAFT_BOOL)
                row.i64 = flag ? 1 : 0
            case .string: row.type = Int32(CRAFT_STRING)
            }
            return row
        }
        return rows.withUnsafeBufferPointer { buffer in
            var table = craft_settings()
            table.struct_size = UInt32(MemoryLayout<craft_settings>.size)
            table.setting_size = UInt32(MemoryLayout<craft_setting>.stride)
            table.count = UInt32(buffer.count)
            table.items = buffer.baseAddress
            table.instance = copy(instance)
            return body(table)
        }
    }
}

/// The services this process offers to plugins.
enum HostTable {
    /// Static: plugins may keep the pointer for as long as the process lives.
    nonisolated(unsafe) static let pointer: UnsafePointer<craft_host> = {
        let host = UnsafeMutablePointer<craft_host>.allocate(capacity: 1)
        host.initialize(to: craft_host())
        host.pointee.struct_size = UInt32(MemoryLayout<craft_host>.size)
        host.pointee.abi_major = CRAFT_ABI_MAJOR
        host.pointee.abi_minor = CRAFT_ABI_MINOR
        host.pointee.name = UnsafePointer(strdup("craft"))
        host.pointee.version = UnsafePointer(strdup(PluginLibrary.hostABI))
        host.pointee.log = { _, severity, message in
            guard let message else { return }
            let prefix = severity == Int32(CRAFT_LOG_WARNING) ? "warning: " : ""
            let line = "\(prefix)\(String(cString: message))\n"
            _ = write(STDERR_FILENO, line, line.utf8.count)
        }
        return UnsafePointer(host)
    }()
}
