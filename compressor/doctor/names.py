"""What can be asked of the doctor, by name; light, for the command line shows it in its help."""

from typing import Literal

DoctorEngine = Literal["onnxruntime", "tensorrt"]
DoctorClock = Literal["wall", "realtime"]
