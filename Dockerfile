# JupyterLab with the course:
#   docker build -t convolution-tested . && docker run --rm -p 127.0.0.1:8888:8888 convolution-tested
# It prints the address to open. Notebooks that you change stay in the container, unless you bind a
# folder: -v "$PWD/chapters:/course/chapters".
FROM python:3.12-slim-bookworm

ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore

RUN useradd --create-home --uid 1000 reader
WORKDIR /course

# First what changes seldom, so that a change of a chapter does not install everything anew.
COPY pyproject.toml requirements.txt constraints.txt ./
COPY utils ./utils
COPY chapters/claims.yml chapters/claims.schema.json ./chapters/
RUN python -m pip install -r requirements.txt -c constraints.txt

COPY --chown=reader . .
RUN chown reader /course
USER reader
EXPOSE 8888
CMD ["jupyter", "lab", "--ip=0.0.0.0", "--port=8888", "--no-browser", "chapters"]
