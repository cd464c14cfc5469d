"""MLflow as a view of the store; nothing else imports mlflow. What it reads when it is imported is set here."""

import logging
import os

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
os.environ.setdefault("GIT_PYTHON_REFRESH", "quiet")
# tracker.py tries again by itself, looking first at what arrived: MLflow's own retries would repeat a request whose
# answer was lost, and so create a run twice.
os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")

# MLflow logs the whole traceback of an error of the database, each time; tracker.py says it in a line, once.
logging.getLogger("mlflow.store.db.utils").setLevel(logging.CRITICAL)
