"""What a crop, a model, a bundle, a profile and a ranking are. Imports nothing else of the project."""

import sys
from types import ModuleType

# OpenVINO reports to its maker, over the network, that it was imported. It imports the package that does so
# only if it is there, and takes a module without contents for one that is not.
sys.modules.setdefault("openvino_telemetry", ModuleType("openvino_telemetry"))
