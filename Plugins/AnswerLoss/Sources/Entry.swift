public import PluginAPI
import PluginKit

@c @implementation
public func craft_plugin_entry() -> UnsafePointer<craft_plugin>? { pluginTable(of: AnswerLoss.self) }
